"""TensorFlow's SAME padding."""

from collections.abc import Sequence


def same_pads(
    sizes: Sequence[int],
    windows: Sequence[int],
    steps: Sequence[int],
    dilations: Sequence[int],
    late: bool = True,
) -> list[int]:
    """Return the padding that SAME gives, as `torch.nn.functional.pad` takes it.

    Args:
        sizes: the image's, of each axis.
        windows: the kernel's.
        steps: the strides.
        dilations: of the kernel.
        late: whether an odd pixel goes behind the image; before it as SAME_LOWER does.
    """
    pads: list[int] = []
    for size, window, step, dilation in zip(sizes, windows, steps, dilations, strict=True):
        total = max((-(-size // step) - 1) * step + dilation * (window - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        pads = [*((small, large) if late else (large, small)), *pads]  # `pad` starts from the end
    return pads


def each(value: int | Sequence[int], count: int) -> Sequence[int]:
    """Return a value for each axis, where PyTorch takes one for all of them too."""
    value = (value,) if isinstance(value, int) else tuple(value)
    return value * count if len(value) == 1 else value
