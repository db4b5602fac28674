"""Networks whose last stages keep the resolution and dilate their kernels instead."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from flaxblocks.models.architecture import StageRow

OUTPUT_STRIDES = (8, 16, 32)


def dilated(rows: Sequence[StageRow], stem_stride: int, output_stride: int) -> tuple[StageRow, ...]:
    """Return the stages with dilation in place of the strides that exceed the output's.

    Args:
        rows: the stages in order.
        stem_stride: pixels of the image per pixel of the stem's output.
        output_stride: pixels of the image per pixel of the last stage's output: 8, 16 or 32.

    Raises:
        ValueError: if `output_stride` is another number, or the blocks cannot be dilated.

    Source: `timm.create_model(output_stride=)`; torchvision's `replace_stride_with_dilation`.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(f"`output_stride` must be 8, 16 or 32, got {output_stride!r}")
    result: list[StageRow] = []
    stride, dilation = stem_stride, 1
    for row in rows:
        before = dilation
        if stride * row.stride > output_stride:
            dilation *= row.stride
            row = replace(row, stride=1)
        else:
            stride *= row.stride
        result.append(row if dilation == 1 else row.dilate(row, before, dilation))
    return tuple(result)


def refuse(row: StageRow, before: int, dilation: int) -> StageRow:
    """Refuse to dilate a stage.

    Raises:
        ValueError: always.
    """
    raise ValueError("`output_stride` must be None for this network: no dilated version is defined")


def dilate_all(row: StageRow, before: int, dilation: int) -> StageRow:
    """Return the stage with the same dilation in every block, the first one included."""
    return replace(row, blocks=tuple(partial(block, dilation=dilation) for block in row.blocks))
