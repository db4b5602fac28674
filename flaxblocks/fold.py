"""Batch normalisations folded into the convolutions before them, for inference."""

from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flaxblocks.blocks import ConvNeXtBlock
from flaxblocks.layers import ConvNormAct

M = TypeVar("M", bound=nnx.Module)

PAIRS: dict[type[nnx.Module], tuple[str, str]] = {
    ConvNormAct: ("conv", "norm"),
    ConvNeXtBlock: ("depthwise", "norm"),
}
"""What each class calls a convolution and the normalisation of its result."""


def fold_batchnorm(model: M) -> M:
    """Return a copy for inference, each batch normalisation folded into its convolution.

    ``norm(conv(x))`` in eval mode is one convolution, whose kernel is ``kernel * multiplier`` and
    whose bias is ``norm.bias + (bias - mean) * multiplier``, with
    ``multiplier = scale / sqrt(var + epsilon)``. The copy computes what the model computes in
    eval mode, to rounding, with fewer operations. Other normalisations stay as they are.

    >>> block = fb.ConvNormAct(3, 8, use_bias=False, rngs=nnx.Rngs(0))
    >>> folded = fb.fold_batchnorm(block)
    >>> folded.norm is None, folded.conv.bias.shape
    (True, (8,))

    Args:
        model: any module; it is unchanged. An abstract one goes through
            ``nnx.eval_shape(fb.fold_batchnorm, model)``.

    Returns:
        The copy, in eval mode, which shares no array with the model.

    Raises:
        ValueError: if a batch normalisation follows no convolution as it does in `ConvNormAct`;
            the message says where. Or if normalisations share one convolution, or the model is
            abstract.

    Source: Jacob et al. 2018, section 3.2.
    """
    copy = _copy(model)
    folded: set[int] = set()
    for path, module in list(nnx.iter_modules(copy)):
        for kind, (conv_name, norm_name) in PAIRS.items():
            norm = getattr(module, norm_name, None)
            if isinstance(module, kind) and isinstance(norm, nnx.BatchNorm):
                conv = getattr(module, conv_name)
                if id(conv) in folded:
                    raise ValueError(
                        f"`model` must have a convolution for each normalisation, {_dotted(path)} "
                        "shares its own with another"
                    )
                _fold(conv, norm)
                folded.add(id(conv))
                setattr(module, norm_name, nnx.static(None))
    left = [_dotted(path) for path, m in nnx.iter_modules(copy) if isinstance(m, nnx.BatchNorm)]
    if left:
        raise ValueError(
            "`model` must have a convolution before each batch normalisation, as in ConvNormAct, "
            f"to fold it into; there is none before {', '.join(left)}"
        )
    copy.eval()
    return copy


def _copy(model: M) -> M:
    # Not jax.tree.map of the module itself: it would tear a shared part in two.
    graphdef, state = nnx.split(model)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(state)):
        raise ValueError(
            "`model` is abstract and has no weights to fold; "
            "nnx.eval_shape(fb.fold_batchnorm, model) gives the folded shapes"
        )
    return nnx.merge(graphdef, jax.tree.map(jnp.copy, state))


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


def _dotted(path: tuple) -> str:
    return ".".join(map(str, path)) or "the module itself"
