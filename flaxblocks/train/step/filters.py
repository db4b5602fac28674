"""Filters that select parameters by their place in the network."""

from dataclasses import dataclass
from typing import Any

Filter = Any
"""What NNX takes as a filter: a predicate of ``(path, value)``, a type of variable, ``...`` for
everything, or a combination by `nnx.All`, `nnx.Any` and `nnx.Not`."""

Path = tuple[Any, ...]
"""The attribute names and list indices that lead to a parameter, such as ``("stages", 3)``."""


@dataclass(frozen=True)
class Under:
    """Selects everything inside modules: a filter; `under` makes it.

    Args:
        prefixes: paths of the modules.
    """

    prefixes: tuple[str, ...]

    def __call__(self, path: Path, value: Any) -> bool:
        """Return whether the path leads into one of the modules."""
        name = ".".join(map(str, path)) + "."
        return any(name.startswith(f"{prefix}.") for prefix in self.prefixes)


def under(*prefixes: str) -> Under:
    """Select everything inside the named modules.

    >>> last = under("head", "stages.3")
    >>> last(("stages", 3, "blocks", 0), None), last(("stages", 30), None)
    (True, False)

    Args:
        prefixes: paths of modules, with dots: ``"head"``, ``"stages.3.blocks.0"``.
    """
    return Under(prefixes)
