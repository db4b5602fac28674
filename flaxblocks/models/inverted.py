"""Rows of inverted residuals, of which mobile networks and EfficientNets are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import Any

from flax import nnx

from flaxblocks.blocks import FusedMBConv, MBConv
from flaxblocks.layers import BatchNorm, ConvNormAct, Mixed, SqueezeExcite
from flaxblocks.layers.conv import Padding
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Dilate, StageRow, dilate_after_first
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import Activation, relu, sigmoid


@dataclass(frozen=True)
class Gate:
    """The squeeze-and-excitation gate of a block.

    Args:
        squeeze: the gate's narrow width from the block's input channels and its wide width.
        act: activation after the gate's first layer.
        gate: function that makes the scale.
        layer: makes the gate: ``layer(features, squeeze_features=, act=, gate=, dtype=,
            param_dtype=, rngs=)``.
    """

    squeeze: Callable[[int, int], int]
    act: Activation = relu
    gate: Activation = sigmoid
    layer: ModuleFactory = SqueezeExcite


@dataclass(frozen=True)
class InvertedRow:
    """Equal inverted residuals one after the other: a row of such a network's table.

    Args:
        features: channels of the output.
        depth: how many blocks.
        stride: step of the first of them in pixels.
        expansion: the wide width as a multiple of the block's input channels.
        hidden_features: the wide width itself, in place of `expansion`.
        always_expand: whether the expansion is there even where it widens nothing.
        expand: makes an `MBConv`'s expansion; None for its own default.
        project: makes an `MBConv`'s projection likewise.
        kernel_size: height and width of the spatial kernel in pixels.
        mixed: several sizes of an `MBConv`'s spatial kernels in place of one; None for one.
        group_size: channels that the spatial kernel mixes; None for one in an `MBConv` and all in
            a `FusedMBConv`.
        block: with a depthwise or with a dense spatial convolution.
        act: activation within the block.
        final_act: activation at its end; None for none.
        pool: takes the place of a stride that is not 1, see `MBConv`; None for none.
        gate: the block's gate; None for none.
        residual: whether the block's input is added where it can be.
    """

    features: int
    depth: int = 1
    stride: int = 1
    expansion: float = 1
    hidden_features: int | None = None
    always_expand: bool = False
    expand: Callable[..., ConvNormAct] | None = None
    project: Callable[..., ConvNormAct] | None = None
    kernel_size: int = 3
    mixed: Mixed | None = None
    group_size: int | None = None
    block: type[MBConv] | type[FusedMBConv] = MBConv
    act: Activation = relu
    final_act: Activation | None = None
    pool: Activation | None = None
    gate: Gate | None = None
    residual: bool = True

    def make_block(
        self,
        in_features: int,
        out_features: int,
        **arguments: Any,
    ) -> nnx.Module:
        """Return one of the blocks, with its wide width rounded to a multiple of 8."""
        hidden = self.hidden_features or make_divisible(in_features * self.expansion)
        arguments["kernel_size"] = self.mixed or self.kernel_size
        choices = {"group_size": self.group_size, "expand": self.expand, "project": self.project}
        arguments |= {name: choice for name, choice in choices.items() if choice is not None}
        return self.block(
            in_features,
            out_features,
            hidden_features=hidden,
            always_expand=self.always_expand,
            use_bias=False,
            act=self.act,
            final_act=self.final_act,
            pool=self.pool_at(arguments["stride"]),
            se=self.squeeze_excite(in_features, hidden),
            residual=self.residual,
            **arguments,
        )

    def pool_at(self, stride: int) -> Activation | None:
        """Return the pool of a block with this stride."""
        return None if stride == 1 else self.pool

    def squeeze_excite(self, in_features: int, hidden: int) -> ModuleFactory | None:
        """Return what makes the gate of a block with these widths."""
        if self.gate is None:
            return None
        squeezed, own = self.gate.squeeze(in_features, hidden), self.gate
        return partial(own.layer, squeeze_features=squeezed, act=own.act, gate=own.gate)


Stages = tuple[tuple[InvertedRow, ...], ...]
"""The rows of each stage."""


def stages_of_one(*rows: InvertedRow) -> Stages:
    """Return a table in which each row is a stage."""
    return tuple((row,) for row in rows)


def scaled(
    stages: Sequence[Sequence[InvertedRow]],
    *,
    width: float = 1.0,
    depth: float | Sequence[float] = 1.0,
    round_width: Callable[[float], int] = make_divisible,
    round_depth: Callable[[float], int] = ceil,
) -> Stages:
    """Return a table with its channels and layers multiplied.

    Args:
        stages: the rows of each stage.
        width: factor of the channels.
        depth: factor of each stage's layers, or one for each stage.
        round_width: makes a number of channels.
        round_depth: makes a stage's number of layers; they are shared among its rows in proportion,
            rounded from the last row on.

    Source: Tan and Le 2019, equation 3.
    """
    factors = [depth] * len(stages) if isinstance(depth, int | float) else depth
    return tuple(
        tuple(
            replace(row, features=round_width(width * row.features), depth=layers)
            for row, layers in zip(rows, _shared(rows, factor, round_depth), strict=True)
        )
        for rows, factor in zip(stages, factors, strict=True)
    )


def _shared(
    rows: Sequence[InvertedRow], factor: float, round_depth: Callable[[float], int]
) -> list[int]:
    """Return each row's number of layers after scaling."""
    before = sum(row.depth for row in rows)
    after = max(1, round_depth(before * factor))
    depths: list[int] = []
    for row in reversed(rows):
        depths.append(max(1, round(row.depth / before * after)))
        before, after = before - row.depth, after - depths[-1]
    return depths[::-1]


def inverted_stage(
    rows: Sequence[InvertedRow],
    *,
    norm: ModuleFactory = BatchNorm,
    padding: Padding = None,
    dilate: Dilate = dilate_after_first,
) -> StageRow:
    """Return the stage made of these rows.

    Args:
        rows: one or more rows; only the first one's stride may differ from 1.
        norm: makes each normalization, see `ConvNormAct`.
        padding: of the spatial convolutions, as `Conv` takes it.
        dilate: how the stage is dilated, see `StageRow`.
    """
    each = [row for row in rows for _ in range(row.depth)]
    blocks = tuple(partial(row.make_block, norm=norm, padding=padding) for row in each)
    widths = tuple(row.features for row in each)
    return StageRow(widths[-1], rows[0].stride, blocks, widths=widths, dilate=dilate)
