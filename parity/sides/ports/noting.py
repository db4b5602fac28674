"""Notes which layers of a library are called."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any


@contextmanager
def noting(
    kinds: Sequence[type], method: str, note: Callable[[Any], None]
) -> Generator[None, None, None]:
    """Hand each layer whose class computes it to `note`, before it does.

    Args:
        kinds: the classes, of which each has the method itself.
        method: the method that computes a layer.
        note: called with the layer.
    """
    own = {kind: getattr(kind, method) for kind in kinds}

    def noted(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def run(layer: Any, *args: Any, **kwargs: Any) -> Any:
            note(layer)
            return call(layer, *args, **kwargs)

        return run

    try:
        for kind, call in own.items():
            setattr(kind, method, noted(call))
        yield
    finally:
        for kind, call in own.items():
            setattr(kind, method, call)
