"""Measures of the difference between arrays."""

from collections.abc import Iterator, Mapping

import numpy as np


def scale_of(*arrays: np.ndarray) -> float:
    """Return the largest magnitude in the arrays, 0 where they are empty."""
    return max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)


def scaled_error(value: np.ndarray, truth: np.ndarray, scale: float | None = None) -> float:
    """Return the largest difference as a fraction of the truth's scale.

    A difference in shape, or a value that is not finite on one side only, is infinitely far; but
    a pooled map of one pixel, ``(n, 1, 1, c)``, is the vector ``(n, c)``.
    """
    value, truth = _pooled(value), _pooled(truth)
    if value.shape != truth.shape:
        return float("inf")
    return _fraction(_difference(value, truth).max(initial=0.0), truth, scale)


def rms_error(value: np.ndarray, truth: np.ndarray, scale: float | None = None) -> float:
    """Return the root-mean-square difference as a fraction of the truth's scale."""
    value, truth = _pooled(value), _pooled(truth)
    if value.shape != truth.shape:
        return float("inf")
    difference = _difference(value, truth)
    rms = np.sqrt(np.mean(np.square(difference))) if difference.size else 0.0
    return _fraction(rms, truth, scale)


def layer_scale(name: str, values: Mapping[str, np.ndarray]) -> float:
    """Return the scale of a parameter's gradient: the largest value in the parameter's layer.

    The bias of a convolution before a normalization has gradient 0 but for rounding: its own
    magnitude says nothing about how well it is computed.
    """
    layer = name.rpartition(".")[0]
    return scale_of(*(v for other, v in values.items() if other.rpartition(".")[0] == layer))


def ulps(value: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest difference in float32 units in the last place of the truth's scale."""
    if value.shape != truth.shape:
        return float("inf")
    unit = float(np.spacing(np.float32(scale_of(truth))))
    return float(_difference(value, truth).max(initial=0.0)) / unit


def paired(
    theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield what both sides have: the name, PyTorch's array, ours."""
    yield from ((name, value, ours[name]) for name, value in theirs.items() if name in ours)


def _pooled(value: np.ndarray) -> np.ndarray:
    return value[:, 0, 0] if value.ndim == 4 and value.shape[1:3] == (1, 1) else value


def _difference(value: np.ndarray, truth: np.ndarray) -> np.ndarray:
    wide = np.result_type(value.dtype, truth.dtype, np.float64)  # complex where one of them is
    a, b = value.astype(wide), truth.astype(wide)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(a - b))
    return np.where(np.isnan(difference), np.inf, difference)


def _fraction(difference: float, truth: np.ndarray, scale: float | None) -> float:
    if difference == 0:
        return 0.0
    scale = scale_of(truth) if scale is None else scale
    return float(difference / scale) if scale else float("inf")
