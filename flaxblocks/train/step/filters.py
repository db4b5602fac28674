"""Filters that select parameters by their place in the network."""

from collections.abc import Callable
from typing import Any

Filter = Any
"""What NNX takes as a filter: a predicate of ``(path, value)``, a type of variable, ``...`` for
everything, or a combination by `nnx.All`, `nnx.Any` and `nnx.Not`."""

Path = tuple[Any, ...]
"""The attribute names and list indices that lead to a parameter, such as ``("stages", 3)``."""


def under(*prefixes: str) -> Callable[[Path, Any], bool]:
    """Select everything inside the named modules: a filter.

    >>> deepest = under("head", "stages.3")
    >>> deepest(("stages", 3, "blocks", 0), None), deepest(("stages", 30), None)
    (True, False)

    Args:
        prefixes: paths of modules, with dots: ``"head"``, ``"stages.3.blocks.0"``.
    """

    def selects(path: Path, value: Any) -> bool:
        name = ".".join(map(str, path)) + "."
        return any(name.startswith(f"{prefix}.") for prefix in prefixes)

    return selects
