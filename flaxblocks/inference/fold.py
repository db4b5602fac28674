# pyright: reportUnknownMemberType=false
"""Batch normalizations folded into the convolutions before them."""

from collections import Counter
from typing import Any

import jax
import numpy as np
from flax import nnx

from flaxblocks.blocks import ConvNeXtBlock
from flaxblocks.inference.by_numpy import by_numpy, namespace
from flaxblocks.layers import ConvNormAct, MixedConv
from flaxblocks.layers.squeeze_excite import SqueezeNormExcite

PAIRS: dict[type[nnx.Module], tuple[str, str]] = {
    ConvNormAct: ("conv", "norm"),
    ConvNeXtBlock: ("depthwise", "norm"),
    SqueezeNormExcite: ("reduce", "norm"),
}
"""Each class's attributes that hold a convolution and the normalization after it."""

Arrays = dict[str, Any]
"""NumPy's or JAX's, by name."""

Weights = tuple[jax.Array, jax.Array]
"""A kernel and a bias."""


def fold_batch_norms(model: nnx.Module) -> None:
    """Fold each batch normalization that follows a convolution into it, in place.

    ``norm(conv(x))`` in eval mode is one convolution, whose kernel is ``kernel * multiplier`` and
    whose bias is ``norm.bias + (bias - mean) * multiplier``, with
    ``multiplier = scale / sqrt(var + epsilon)``.

    Source: Jacob et al. 2018, section 3.2.
    """
    found = [
        (module, conv_name, norm_name)
        for _, module in nnx.iter_modules(model)
        for kind, (conv_name, norm_name) in PAIRS.items()
        if isinstance(module, kind)
        and isinstance(getattr(module, norm_name), nnx.BatchNorm)
        and isinstance(getattr(module, conv_name), nnx.Conv | MixedConv)
    ]
    uses = Counter(id(getattr(module, conv_name)) for module, conv_name, _ in found)
    layers: list[tuple[nnx.Conv, Arrays]] = []
    for module, conv_name, norm_name in found:
        conv, norm = getattr(module, conv_name), getattr(module, norm_name)
        if uses[id(conv)] == 1:  # else each normalization would need a kernel of its own
            layers += _layers(conv, norm)
            setattr(module, norm_name, nnx.static(None))
    results = _folded([arrays for _, arrays in layers])
    for (conv, _), weights in zip(layers, results, strict=True):
        set_weights(conv, *weights)


def _layers(conv: nnx.Conv | MixedConv, norm: nnx.BatchNorm) -> list[tuple[nnx.Conv, Arrays]]:
    """Return the convolutions before a normalization, each with what is folded into one."""
    if not isinstance(conv, MixedConv):
        return [(conv, arrays_of(conv, norm))]
    layers: list[tuple[nnx.Conv, Arrays]] = []
    start = 0
    for part in conv.convs:
        own = slice(start, start := start + part.out_features)
        after = {name: a[own] if a.ndim else a for name, a in arrays_of(None, norm).items()}
        layers.append((part, after | arrays_of(part, None)))
    return layers


def arrays_of(conv: nnx.Conv | None, norm: object) -> Arrays:
    """Return the numbers of a convolution and of a batch's normalization, as `folded` takes them.

    Both may be absent: a convolution that is None, and what is no `nnx.BatchNorm`.
    """
    variables = {} if conv is None else {"kernel": conv.kernel, "bias": conv.bias}
    numbers = {}
    if isinstance(norm, nnx.BatchNorm):
        variables |= {"mean": norm.mean, "var": norm.var, "scale": norm.scale, "shift": norm.bias}
        numbers = {"epsilon": np.asarray(norm.epsilon, norm.var.dtype)}
    return numbers | {name: v.get_value() for name, v in variables.items() if v is not None}


def set_weights(conv: nnx.Conv, kernel: jax.Array, bias: jax.Array) -> None:
    """Give a convolution another kernel, and a bias."""
    conv.kernel.set_value(kernel)
    conv.bias = nnx.data(nnx.Param(bias))
    conv.use_bias = True


def folded(arrays: Arrays) -> Weights:
    """Return the kernel and bias of a convolution and its normalization, in at least float32.

    An absent scale is 1, an absent bias or shift 0, and an absent normalization changes nothing.
    """
    wide = widened(arrays)
    xp = namespace(wide["kernel"])
    bias = wide.get("bias", xp.zeros(wide["kernel"].shape[-1:], wide["kernel"].dtype))
    if "var" not in wide:
        return wide["kernel"], bias
    multiplier = wide.get("scale", 1) / xp.sqrt(wide["var"] + wide["epsilon"])
    bias = wide.get("shift", 0) + (bias - wide["mean"]) * multiplier
    return wide["kernel"] * over_outputs(multiplier, wide["kernel"].ndim), bias


def widened(arrays: Arrays) -> Arrays:
    """Return the arrays in at least float32."""
    return {
        name: a.astype(np.promote_types(a.dtype, np.float32), copy=False)
        for name, a in arrays.items()
    }


def over_outputs(values: jax.Array, ndim: int) -> jax.Array:
    """Return a number for each output as it meets a kernel of `ndim` axes."""
    return namespace(values).expand_dims(values, tuple(range(ndim - 1)))


@by_numpy
def _folded(arrays: Arrays) -> Weights:
    """Return a layer's kernel and bias in the kernel's dtype."""
    kernel, bias = folded(arrays)
    dtype = arrays["kernel"].dtype
    return kernel.astype(dtype, copy=False), bias.astype(dtype, copy=False)
