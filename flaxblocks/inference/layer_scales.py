"""Scales at the end of residual branches, folded into the layers before them."""

from collections import Counter
from typing import Any

import jax
import numpy as np
from flax import nnx

from flaxblocks.blocks import ConvNeXtBlock
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.inference.by_numpy import by_numpy
from flaxblocks.inference.fold import over_outputs
from flaxblocks.layers import Conv, ConvNormAct, Linear


def fold_layer_scales(model: nnx.Module) -> None:
    """Fold each block's scale into its last layer, in place.

    ``scale * (x @ kernel + bias)`` is ``x @ (kernel * scale) + bias * scale``. Scales after a
    normalization that could not be folded stay.
    """
    blocks = [
        block
        for _, block in nnx.iter_modules(model)
        if isinstance(block, ConvNeXtBlock | UniversalInvertedBottleneck)
    ]
    uses = Counter(id(block.project) for block in blocks)
    for block in blocks:
        layer, scale = _last_layer(block.project), block.layer_scale
        if layer is not None and scale is not None and uses[id(block.project)] == 1:
            _scale(layer, scale[...])
            block.layer_scale = nnx.data(None)


def _last_layer(project: Any) -> Conv | Linear | None:
    """Return the layer whose result is the branch's."""
    if isinstance(project, ConvNormAct):
        return _last_layer(project.conv) if project.norm is project.act is None else None
    return project if type(project) in (Conv, Linear) else None


def _scale(layer: Conv | Linear, scale: jax.Array) -> None:
    for variable in (layer.kernel, layer.bias):
        if variable is not None:
            (scaled,) = _scaled([(variable.get_value(), scale)])
            variable.set_value(scaled)


@by_numpy
def _scaled(given: tuple[jax.Array, jax.Array]) -> jax.Array:
    weights, scale = given
    wide = np.promote_types(weights.dtype, np.float32)
    factor = over_outputs(scale.astype(wide), weights.ndim)
    return (weights.astype(wide) * factor).astype(weights.dtype)
