"""Arrays between NumPy's NHWC and PyTorch's NCHW."""

import numpy as np
import torch


def from_nhwc(array: np.ndarray, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return a tensor, channels first where there are four axes; the dtype stays by default."""
    array = np.moveaxis(array, -1, 1) if array.ndim == 4 else array
    return torch.tensor(np.ascontiguousarray(array), dtype=dtype)


def to_nhwc(tensor: torch.Tensor, features: int | None = None) -> np.ndarray:
    """Return a private NumPy copy, channels last where there are four axes.

    Args:
        tensor: any tensor, its channels first.
        features: the number of channels, where it is known: a tensor with that many on its last
            axis only is channels last already, as between the linear layers of a ConvNeXt.
    """
    array = tensor.detach().cpu().numpy()
    last = array.ndim != 4 or (array.shape[1] != features and array.shape[-1] == features)
    return np.array(array if last else np.moveaxis(array, 1, -1), order="C")
