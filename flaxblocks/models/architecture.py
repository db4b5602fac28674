"""How a network is described: a stem, rows of stages and a head, all of them values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import ClassVar

from flaxblocks._base import checks
from flaxblocks.blocks import Head, Stem
from flaxblocks.imagenet import CLASSES
from flaxblocks.layers.initializers import Initialization
from flaxblocks.layers.optional import ModuleFactory

Ramp = Callable[[float, int], Sequence[float]]
Dilate = Callable[["StageRow", int, int], "StageRow"]


def dilate_after_first(row: "StageRow", before: int, dilation: int) -> "StageRow":
    """Return the stage with dilated blocks, of which the first has the previous stage's dilation.

    The first block reads the map of the stage before and has its dilation. The others read a map
    that the stride would have halved, which their own dilation makes up for.
    """
    first, *rest = row.blocks
    blocks = (partial(first, dilation=before), *(partial(b, dilation=dilation) for b in rest))
    return replace(row, blocks=blocks)


@dataclass(frozen=True)
class StageRow:
    """A stage: blocks in a row, of which the first changes the shape.

    Args:
        features: channels of the stage's output.
        stride: step of the stage in pixels.
        blocks: makes each block: ``block(in_features, out_features, stride=, dtype=,
            param_dtype=, rngs=)``, such as ``partial(MBConv, expansion=6, use_bias=False)``;
            with ``drop_path=`` where the rate is not 0.
        downsample: makes what stands before the blocks and takes the stage's step in their place
            (ConvNeXt): ``downsample(in_features, out_features, stride=, dtype=, param_dtype=,
            rngs=)``; None for nothing.
        downsample_features: channels after that, where they are not `features`.
        around: makes one module of all the blocks, which have no stride then (CSPNet):
            ``around(in_features, out_features, blocks=, dtype=, param_dtype=, rngs=)``; None where
            they simply follow each other.
        widths: channels after each block, where they are not `features` throughout.
        dilate: returns the row with dilated kernels, from the dilation of the stage before and
            its own: ``dilate(row, before, dilation)``.
    """

    features: int
    stride: int
    blocks: tuple[ModuleFactory, ...]
    downsample: ModuleFactory | None = None
    downsample_features: int | None = None
    around: ModuleFactory | None = None
    widths: tuple[int, ...] | None = None
    dilate: Dilate = dilate_after_first


def ramp_below(rate: float, blocks: int) -> tuple[float, ...]:
    """Return drop path rates that rise from 0 to one step below `rate`."""
    return tuple(rate * block / blocks for block in range(blocks))


def ramp_to(rate: float, blocks: int) -> tuple[float, ...]:
    """Return drop path rates that rise from 0 to `rate` itself."""
    return tuple(rate * block / max(1, blocks - 1) for block in range(blocks))


def no_branches(rate: float, blocks: int) -> tuple[float, ...]:
    """Refuse every drop path rate but 0: nothing in the blocks is dropped.

    Raises:
        ValueError: if `rate` is not 0.
    """
    if rate:
        raise ValueError(
            f"`drop_path_rate` must be 0 in a network whose blocks drop no branches, got {rate!r}"
        )
    return (0.0,) * blocks


@dataclass(frozen=True)
class Architecture:
    """A network of any family.

    Args:
        stem: makes the first layers: ``stem(in_features, dtype=, param_dtype=, rngs=)``, with the
            attributes of `Stem`.
        stages: the stages in order.
        head: makes the last layers: ``head(in_features, num_classes, drop_rate=, dtype=,
            param_dtype=, rngs=)``, such as ``partial(Head, conv_features=1280)``.
        auxiliary: classifiers of stages' maps for training: the stage's number, and what makes the
            classifier, as `head`.
        initialization: how the initial weights are drawn.
        drop_rate: dropout before the classifier where the caller gives none.
        drop_path_rate: drop path rate where the caller gives none.
        drop_path_ramp: the rate of each block from the network's rate and the number of blocks.
        family: which networks it shares torchvision's and timm's parameter names with; None for
            a network that has native names only.
        output_stride: pixels of the image per pixel of the last feature map where the caller gives
            none, by dilation in place of strides; None for what the strides make it.
        num_classes: length of the output where the caller gives none.

    Attributes:
        task: what a network of it does.
    """

    task: ClassVar[str] = "classification"

    stem: Callable[..., Stem]
    stages: tuple[StageRow, ...]
    head: Callable[..., Head]
    initialization: Initialization
    auxiliary: tuple[tuple[int, Callable[..., Head]], ...] = ()
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    drop_path_ramp: Ramp = ramp_to
    family: str | None = None
    output_stride: int | None = None
    num_classes: int = CLASSES

    def drop_paths(self, rate: float | None) -> list[Sequence[float]]:
        """Return the drop path rate of each block of each stage.

        Args:
            rate: the network's rate; the architecture's own where absent.

        Raises:
            TypeError: if `rate` is not a number.
            ValueError: if it is out of range, or not 0 where there is nothing to drop.
        """
        rate = checks.fraction("drop_path_rate", self.drop_path_rate if rate is None else rate)
        depths = [len(row.blocks) for row in self.stages]
        rates = self.drop_path_ramp(rate, sum(depths))
        ends = accumulate(depths)
        return [rates[end - depth : end] for depth, end in zip(depths, ends, strict=True)]


Networks = Mapping[str, Mapping[str, Architecture]]
"""Networks by name, under the paper that describes them."""
