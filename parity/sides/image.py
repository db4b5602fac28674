"""What an image must look like that a pair is called with."""

from copy import deepcopy
from typing import cast

import numpy as np
from torch import nn

from parity.sides.calls import Input, is_float
from parity.sides.frame import IMAGES
from parity.sides.torch_side import output_shape


def check_image(module: nn.Module, x: Input) -> None:
    """Refuse an image that PyTorch's module cannot take.

    Raises:
        ValueError: if it is not NHWC; it says which axis looks like channels.
    """
    if not isinstance(x, np.ndarray) or not is_float(x):
        return
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        return
    channels, image = first.in_channels, cast(np.ndarray, x)
    if image.ndim == IMAGES and channels not in (image.shape[1], image.shape[-1]):
        return  # it may take a part of the image, or more than it
    if image.ndim == IMAGES and (image.shape[-1] == channels or _takes(module, image)):
        return
    message = f"`x` must have shape (n, h, w, {channels}), got {image.shape}"
    if image.ndim == IMAGES:
        message += (
            f"; axis 1, of size {channels}, looks like the channels (NCHW): "
            "give NHWC, x.transpose(0, 2, 3, 1)"
        )
    raise ValueError(message)


def _takes(module: nn.Module, x: np.ndarray) -> bool:
    """Return whether PyTorch's module runs: its first convolution may take a part of the image."""
    try:
        output_shape(deepcopy(module).to("meta"), x)
    except RuntimeError:
        return False
    return True
