# pyright: basic
"""How a network's residual branches start."""

from flax import nnx

from flaxblocks.blocks import BasicBlock, BottleNeck, DarkBlock, FusedMBConv
from flaxblocks.blocks.norm_free import NormFreeBottleNeck
from flaxblocks.layers import ConvNormAct
from flaxblocks.layers.initializers import Initializer


def scale_residuals(model: nnx.Module, init: Initializer, rngs: nnx.Rngs) -> None:
    """Redraw the scale of the last normalization of each residual branch, or its convolution's."""
    for _, block in nnx.iter_modules(model):
        last = _last_of_residual(block)
        if last is not None:
            scale = getattr(last.norm, "scale", getattr(last.conv, "gain", None))
            if scale is not None:
                scale.set_value(init(rngs.params(), scale.shape, scale.dtype))


def _last_of_residual(block: object) -> ConvNormAct | None:
    """Return the last unit of a block's residual branch, None where there is none."""
    if isinstance(block, FusedMBConv):
        return block.project if block.residual else None
    if isinstance(block, NormFreeBottleNeck):
        return block.expand if block.gain is None else None
    if isinstance(block, DarkBlock):
        return block.second
    if isinstance(block, BasicBlock | BottleNeck) and block.adds:
        return block.second if isinstance(block, BasicBlock) else block.expand
    return None
