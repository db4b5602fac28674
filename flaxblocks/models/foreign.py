"""Arguments that other libraries have, answered with the name of ours."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

FOREIGN: Mapping[str, str] = {
    "pretrained": 'give `weights`, such as weights="default"',
    "checkpoint_path": "give the path as `weights`",
    "progress": "leave it out",
    "in_chans": "give `in_features`",
    "features_only": "call the network's `features`",
    "out_indices": "call the network's `features` with `indices`",
    "global_pool": "give num_classes=0 for pooled features, or call `forward_features`",
    "drop": "give `drop_rate`",
    "dropout": "give `drop_rate`",
    "drop_path": "give `drop_path_rate`",
    "stochastic_depth_prob": "give `drop_path_rate`",
    "replace_stride_with_dilation": "give `output_stride`",
    "norm_layer": "give `norm`",
    "bn_eps": "give `norm`, such as partial(fb.BatchNorm, epsilon=1e-3)",
    "bn_momentum": "give `norm`, such as partial(fb.BatchNorm, momentum=0.99)",
    "act_layer": "give `act`",
    "activation_layer": "give `act`",
    "grad_checkpointing": "call the network's `set_rematerialization`",
}
"""What takes the place of timm's and torchvision's arguments."""


def answers(foreign: Mapping[str, str]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator for a function that may be called with another library's arguments.

    The function takes what it took; a foreign argument's error says what to use instead.

    Args:
        foreign: what to use in place of each argument.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        unknown = foreign.keys() - signature(function).parameters

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in kwargs.keys() & unknown:
                called = getattr(function, "__name__", "the function")
                raise TypeError(f"{called}() has no argument `{name}`: {foreign[name]}")
            return function(*args, **kwargs)

        return call

    return decorate
