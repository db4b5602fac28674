"""The parts of a training loop, each usable alone."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flaxblocks.train._public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that settings are read without JAX."""
    if name == "__all__":
        return __dir__()
    if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
        return import_module(f"{__name__}.{name}")
    public = {} if name.startswith("_") else vars(import_module(f"{__name__}._public"))
    if name not in public:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = public[name]  # found at once from now on
    return public[name]


def __dir__() -> list[str]:
    public = vars(import_module(f"{__name__}._public"))
    return sorted(name for name in public if not name.startswith("_"))
