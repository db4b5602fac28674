# pyright: reportUnknownMemberType=false
"""Batch normalizations folded into the layers after them."""

from collections import Counter
from typing import Any

import jax
from flax import nnx

from flaxblocks.blocks import ConvNeXtBlock, NormConv
from flaxblocks.inference.by_numpy import by_numpy, namespace
from flaxblocks.inference.fold import Arrays, Weights, arrays_of, set_weights, widened
from flaxblocks.layers import Conv, Linear

PAIRS: dict[type[nnx.Module], tuple[str, str]] = {
    ConvNeXtBlock: ("norm", "expand"),
    NormConv: ("norm", "conv"),
}
"""Each class's attributes that hold a normalization and the layer right after it."""


def fold_into_next(model: nnx.Module) -> None:
    """Fold each batch normalization that a layer without padding follows into it, in place.

    ``layer(norm(x))`` in eval mode is one layer, whose kernel is multiplied along its inputs; what
    the normalization adds goes through the kernel into the bias. Where zeros stand beyond the
    border, which the normalization does not change, the two stay.
    """
    found = [
        (module, norm_name, getattr(module, norm_name), getattr(module, layer_name))
        for _, module in nnx.iter_modules(model)
        for kind, (norm_name, layer_name) in PAIRS.items()
        if isinstance(module, kind)
    ]
    uses = Counter(id(layer) for *_, layer in found)
    for module, norm_name, norm, layer in found:
        between = module.act if isinstance(module, NormConv) else None
        if not isinstance(norm, nnx.BatchNorm) or between is not None or uses[id(layer)] > 1:
            continue
        if _sees_no_border(layer):
            (weights,) = _folded([arrays_of(layer, norm)])
            set_weights(layer, *weights)
            setattr(module, norm_name, nnx.static(None))


def _sees_no_border(layer: Any) -> bool:
    """Return whether the layer reads nothing but its input."""
    if type(layer) is Linear:
        return True
    if type(layer) is not Conv or layer.feature_group_count > 1:
        return False
    return layer.padding == "VALID" or layer.padding == ((0, 0), (0, 0))


@by_numpy
def _folded(arrays: Arrays) -> Weights:
    kernel, bias = after_norm(arrays)
    dtype = arrays["kernel"].dtype
    return kernel.astype(dtype, copy=False), bias.astype(dtype, copy=False)


def after_norm(arrays: Arrays) -> Weights:
    """Return the kernel and bias of a layer and the normalization before it, at least in float32.

    An absent scale is 1, an absent bias or shift 0.
    """
    wide = widened(arrays)
    multiplier = wide.get("scale", 1) / namespace(wide["var"]).sqrt(wide["var"] + wide["epsilon"])
    shift = wide.get("shift", 0) - wide["mean"] * multiplier
    kernel = wide["kernel"]
    shift, multiplier = (_over_inputs(values, kernel.ndim) for values in (shift, multiplier))
    through = (kernel * shift).sum(tuple(range(kernel.ndim - 1)))
    return kernel * multiplier, wide.get("bias", 0) + through


def _over_inputs(values: jax.Array, ndim: int) -> jax.Array:
    return namespace(values).expand_dims(values, (*range(ndim - 2), ndim - 1))
