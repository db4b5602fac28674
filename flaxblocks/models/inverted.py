"""What the tables of the mobile networks and EfficientNets have in common: one kind of row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
from flax import nnx

from flaxblocks.blocks import FusedMBConv, MBConv
from flaxblocks.layers import BatchNorm, SqueezeExcite
from flaxblocks.layers.activations import Activation, relu, sigmoid
from flaxblocks.layers.conv import Padding
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import StageRow
from flaxblocks.models.scaling import make_divisible


@dataclass(frozen=True)
class Gate:
    """The squeeze-and-excitation gate of a block.

    Args:
        squeeze: the gate's narrow width from the block's input channels and its wide width.
        act: activation after the gate's first layer.
        gate: function that makes the scale.
    """

    squeeze: Callable[[int, int], int]
    act: Activation = relu
    gate: Activation = sigmoid


@dataclass(frozen=True)
class InvertedRow:
    """Equal inverted residuals one after the other: a row of such a network's table.

    Args:
        features: channels of the output.
        depth: how many blocks.
        stride: step of the first of them in pixels.
        expansion: the wide width as a multiple of the block's input channels.
        hidden_features: the wide width itself, in place of `expansion`.
        kernel_size: height and width of the spatial kernel in pixels.
        block: with a depthwise or with a dense spatial convolution.
        act: activation within the block.
        gate: the block's gate; None for none.
    """

    features: int
    depth: int = 1
    stride: int = 1
    expansion: float = 1
    hidden_features: int | None = None
    kernel_size: int = 3
    block: type[MBConv] | type[FusedMBConv] = MBConv
    act: Activation = relu
    gate: Gate | None = None


def inverted_stage(
    rows: Sequence[InvertedRow], *, norm: ModuleFactory = BatchNorm, padding: Padding = None
) -> StageRow:
    """Return the stage made of these rows, which have the same output channels.

    Args:
        rows: one or more rows; only the first one's stride may differ from 1.
        norm: makes each normalisation, see `ConvNormAct`.
        padding: of the spatial convolutions, as `Conv` takes it.
    """
    blocks = tuple(
        partial(_inverted_block, row=row, norm=norm, padding=padding)
        for row in rows
        for _ in range(row.depth)
    )
    return StageRow(rows[0].features, rows[0].stride, blocks)


def _inverted_block(
    in_features: int,
    out_features: int,
    *,
    row: InvertedRow,
    norm: ModuleFactory,
    padding: Padding,
    stride: int,
    drop_path: float,
    dtype: jnp.dtype | type | None,
    param_dtype: jnp.dtype | type,
    rngs: nnx.Rngs,
) -> MBConv | FusedMBConv:
    """Make one block of a row, with its widths rounded to multiples of 8."""
    hidden = row.hidden_features or make_divisible(in_features * row.expansion)
    return row.block(
        in_features,
        out_features,
        hidden_features=hidden,
        kernel_size=row.kernel_size,
        stride=stride,
        padding=padding,
        use_bias=False,
        norm=norm,
        act=row.act,
        final_act=None,
        se=_squeeze_excite(row.gate, in_features, hidden),
        drop_path=drop_path,
        dtype=dtype,
        param_dtype=param_dtype,
        rngs=rngs,
    )


def _squeeze_excite(gate: Gate | None, in_features: int, hidden: int) -> ModuleFactory | None:
    if gate is None:
        return None
    squeezed = gate.squeeze(in_features, hidden)
    return partial(SqueezeExcite, squeeze_features=squeezed, act=gate.act, gate=gate.gate)
