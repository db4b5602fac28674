"""Convolutional blocks and backbones in Flax NNX, proven equal to their PyTorch counterparts."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flaxblocks import train as train
    from flaxblocks._public import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import a subpackage or the public names when they are first asked for."""
    if name == "__all__":
        return __dir__()
    if not name.startswith("_"):
        if find_spec(f"{__name__}.{name}"):
            return import_module(f"{__name__}.{name}")
        public = vars(import_module(f"{__name__}._public"))
        if name in public:
            globals()[name] = public[name]  # found at once from now on
            return public[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    public = vars(import_module(f"{__name__}._public"))
    return sorted({"train", *(name for name in public if not name.startswith("_"))})
