# pyright: reportUnknownMemberType=false
"""Fitting a checkpoint to a network with other classes or other input channels than its own."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import numpy as np
from flax import nnx

from flaxblocks.blocks import Head
from flaxblocks.models import Backbone
from flaxblocks.weights.arrays import to_numpy
from flaxblocks.weights.entries import Entry

RGB = 3

Naming = Callable[[nnx.Module], dict[str, Entry]]


def keep_head(module: nnx.Module, state_dict: Mapping[str, Any], naming: Naming) -> dict[str, Any]:
    """Put the network's own classifier, if it has one, in the place of the checkpoint's.

    Args:
        module: the network.
        state_dict: the checkpoint, by the names that `naming` gives.
        naming: returns a module's entries by name.

    Raises:
        ValueError: if the module has no head, or its classifier is abstract.
    """
    network = _network("new_head", module)
    whole = _with_classifier(network)
    heads = (whole.head, *whole.auxiliary)
    classifiers = (getattr(head, name) for head in heads for name in head.classifiers)
    own = {id(variable) for part in classifiers for variable in _variables(part)}
    named = {name: entry for name, entry in naming(whole).items() if id(entry.variable) in own}
    others = {name: value for name, value in state_dict.items() if name not in named}
    if network.head.classifier is None:
        absent = naming(whole).keys() - naming(network).keys()
        return {name: value for name, value in state_dict.items() if name not in absent}
    kept = {
        name: entry.variable.get_value()
        for name, entry in named.items()
        if entry.variable is not None
    }
    if any(isinstance(value, jax.ShapeDtypeStruct) for value in kept.values()):
        raise ValueError(
            "`new_head` keeps the classifier that the network was made with, and this one is "
            "abstract; make the network outside nnx.eval_shape"
        )
    return others | {
        name: named[name].layout.to_torch(np.asarray(value)) for name, value in kept.items()
    }


def adapt_rgb(module: nnx.Module, state_dict: Mapping[str, Any], naming: Naming) -> dict[str, Any]:
    """Turn the checkpoint's first kernels, which read RGB, into ones for the network's channels.

    One channel gets the sum of the three; more repeat them, in order, times ``3 / in_features``,
    so that an image of equal channels gives what it gave.

    Args:
        module: the network.
        state_dict: the checkpoint, by the names that `naming` gives.
        naming: returns a module's entries by name.

    Raises:
        ValueError: if the module has no stem, or the checkpoint's kernel has neither 3 channels
            nor the network's.

    Source: timm 1.0, `timm.models.adapt_input_conv`.
    """
    kernels = {id(kernel) for kernel in first_kernels(_network("adapt_stem", module))}
    needed = {n: e.shape[1] for n, e in naming(module).items() if id(e.variable) in kernels}
    return {
        name: _adapted(name, value, needed[name]) if name in needed else value
        for name, value in state_dict.items()
    }


def first_kernels(network: Backbone) -> list[nnx.Variable[Any]]:
    """Return the kernels that read the image: several where the stem is of parallel ones."""
    first: nnx.Module = network.stem.layers[0]
    parts = [part for _, part in nnx.iter_modules(first) if isinstance(part, nnx.Conv)]
    return [part.kernel for part in parts if part.in_features == network.in_features]


def _adapted(name: str, kernel: Any, needed: int) -> Any:
    """Return a kernel of shape ``(out, given, h, w)`` for the channels that are needed."""
    given = np.shape(kernel)[1]
    if given == needed:
        return kernel
    if given != RGB:
        raise ValueError(
            f"`adapt_stem` adapts kernels of {RGB} channels to {needed}, got {given} in {name}"
        )
    return _for_channels(to_numpy(kernel), needed)


def _for_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Adapt a kernel of shape ``(out, 3, h, w)``; at least in float32, as PyTorch does."""
    wide = kernel.astype(np.promote_types(kernel.dtype, np.float32))
    if channels == 1:
        adapted = wide.sum(1, keepdims=True)
    else:
        repeats = -(-channels // RGB)
        adapted = np.tile(wide, (1, repeats, 1, 1))[:, :channels] * (RGB / channels)
    return adapted.astype(kernel.dtype)


def _network(argument: str, module: nnx.Module) -> Backbone:
    if isinstance(module, Backbone):
        return module
    raise ValueError(
        f"`{argument}` needs a network such as create_model makes, got {type(module).__name__}"
    )


def _with_classifier(network: Backbone) -> Backbone:
    """Return the network itself, or, where it has no classifier, a twin that has one."""
    if network.head.classifier is not None:
        return network
    twin = nnx.merge(*nnx.split(network))
    twin.head = nnx.eval_shape(_with_one_class, twin.head)
    for place, head in enumerate(twin.auxiliary):
        twin.auxiliary[place] = nnx.eval_shape(_with_one_class, head)
    return twin


def _with_one_class(head: Head) -> Head:
    head.reset_classifier(1, rngs=nnx.Rngs(0))
    return head


def _variables(module: Any) -> list[nnx.Variable[Any]]:
    held = cast("dict[str, Any]", vars(module)).values()
    return [value for value in held if isinstance(value, nnx.Param)]
