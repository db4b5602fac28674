"""Mistakes of linear layers that a port applies at each position of an image.

VGG's first linear layer is a convolution whose window is the whole map; a port that writes it as
one, and pads it, gives as many vectors as there are positions, and has to join them further on.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from parity.diagnosis.same import same_pads
from parity.diagnosis.site import Change, Site

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def as_convolution(site: Site) -> Iterator[Change]:
    """Yield a linear layer's weights as a convolution over the map that was flattened."""
    slot = site.image_slot() if site.kind == "linear" else None
    if slot is None:
        return
    image, (channels, *window) = site.values[slot], site.program.values[slot].shape[1:]
    weight, bias = site.get("weight"), site.get("bias")
    sizes, ones = image.shape[2:], [1] * len(window)
    if weight.shape[1:].numel() != channels * torch.Size(window).numel() or len(window) not in (
        _CONVOLUTIONS
    ):
        return
    paddings = {
        "pads as TensorFlow's SAME": same_pads(sizes, window, ones, ones),
        "pads as TensorFlow's SAME_LOWER": same_pads(sizes, window, ones, ones, late=False),
        "does not pad": [0] * 2 * len(window),
    }
    for words, pads in paddings.items():
        if not any(pads) and list(sizes) == list(window):
            continue  # the linear layer itself

        def run(a: dict[str, Any], pads: list[int] = pads) -> torch.Tensor:
            x = F.pad(a["input"].reshape(-1, *image.shape[1:]), pads)
            kernel = a["weight"].reshape(-1, channels, *window)
            return _CONVOLUTIONS[len(window)](x, kernel, bias)

        text = f"padding: JAX applies the weights as a convolution that {words}, at each position"
        yield site.change(f"{text}; PyTorch to the whole map at once", run, "padding='VALID'")


def averaged(site: Site) -> Iterator[Change]:
    """Yield the average over the positions that an earlier change gave a linear layer."""
    slot = site.operation.reads[0] if site.kind == "linear" else None
    if slot is None or site.values[slot].ndim == site.program.values[slot].ndim:
        return

    def run(arguments: dict[str, Any]) -> torch.Tensor:
        x = arguments["input"]  # channels last
        return site.original({**arguments, "input": x.mean(tuple(range(1, x.ndim - 1)))})

    text = "pooling: JAX averages over positions, of which PyTorch has one"
    yield site.change(text, run, "leave one position")


POSITIONS = (as_convolution, averaged)
