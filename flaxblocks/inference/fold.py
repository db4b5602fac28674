"""Batch normalizations folded into the convolutions before them."""

from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flaxblocks.blocks import ConvNeXtBlock
from flaxblocks.layers import ConvNormAct

PAIRS: dict[type[nnx.Module], tuple[str, str]] = {
    ConvNormAct: ("conv", "norm"),
    ConvNeXtBlock: ("depthwise", "norm"),
}
"""Each class's attributes that hold a convolution and the normalization after it."""


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
        if isinstance(module, kind) and isinstance(getattr(module, norm_name), nnx.BatchNorm)
    ]
    uses = Counter(id(getattr(module, conv_name)) for module, conv_name, _ in found)
    for module, conv_name, norm_name in found:
        conv = getattr(module, conv_name)
        if uses[id(conv)] == 1:  # else each normalization would need a kernel of its own
            _fold(conv, getattr(module, norm_name))
            setattr(module, norm_name, nnx.static(None))


def _fold(conv: nnx.Conv, norm: nnx.BatchNorm) -> None:
    variables = {"kernel": conv.kernel, "bias": conv.bias, "mean": norm.mean, "var": norm.var}
    variables |= {"scale": norm.scale, "shift": norm.bias}
    arrays = {name: v.get_value() for name, v in variables.items() if v is not None}
    kernel, bias = _folded(arrays, norm.epsilon)
    conv.kernel.set_value(kernel)
    conv.bias = nnx.data(nnx.Param(bias))
    conv.use_bias = True


@partial(jax.jit, static_argnums=1)
def _folded(arrays: dict[str, jax.Array], epsilon: float) -> tuple[jax.Array, jax.Array]:
    """Return the new kernel and bias; an absent scale is 1, an absent bias or shift 0."""
    dtype = arrays["kernel"].dtype
    wide = {n: a.astype(np.promote_types(dtype, np.float32)) for n, a in arrays.items()}
    multiplier = wide.get("scale", 1) / jnp.sqrt(wide["var"] + epsilon)
    bias = wide.get("shift", 0) + (wide.get("bias", 0) - wide["mean"]) * multiplier
    return (wide["kernel"] * multiplier).astype(dtype), bias.astype(dtype)
