"""How a JAX module is called: what its call takes beside the input."""

import inspect
from collections.abc import Callable
from typing import Any

from flax import nnx

from parity.sides import calls
from parity.sides.fitting import naming_input

TRAINS = ("train", "training", "is_training")
RESTS = ("deterministic", "use_running_average", "inference", "eval")
RANDOM = ("rngs", "rng", "key")

Call = Callable[[Any, Any, bool], Any]
"""Calls a JAX module: of the module, the input, and whether it trains."""


def call(module: Any, x: Any, training: bool) -> Any:
    """Call a module on an input, and tell it the mode where its call has an argument for it.

    An argument that switches training off by default, and is left alone, is no difference.
    """
    args, kwargs = calls.arguments(x)
    modes = mode_arguments(type(module).__call__, training)
    with naming_input(x):
        return module(*args, **{**modes, **kwargs})


def mode_arguments(function: Callable[..., Any], training: bool) -> dict[str, Any]:
    """Return the arguments that tell the mode, under the names that a call has for them."""
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in TRAINS:
            found[name] = training
        elif name in RESTS:
            found[name] = not training
        elif name in RANDOM and parameter.default in (None, inspect.Parameter.empty):
            found[name] = nnx.Rngs(0)
    return found
