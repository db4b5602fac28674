"""Mistakes in convolutions and linear layers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, cast

import torch
import torch.nn.functional as F

from parity.diagnosis.same import each, same_pads
from parity.diagnosis.site import Change, Site


def padding(site: Site) -> Iterator[Change]:
    """Yield other paddings of a convolution."""
    if not _is_convolution(site):
        return
    own, count = site.get("padding", 0), site.input.ndim - 2
    for name, late in (("SAME", True), ("SAME_LOWER", False)):
        pads = _same(site, late)
        text = f"padding: JAX pads as TensorFlow's {name}, unevenly; PyTorch by {_short(own)}"
        yield site.change(
            text,
            lambda a, pads=pads: site.original(
                {**a, "input": F.pad(a["input"], pads), "padding": 0}
            ),
            f"padding={_short(own)}",
        )
    for pixels in range(max(site.get("weight").shape[2:]) + 1):
        text = f"padding: JAX pads by {pixels}, PyTorch by {_short(own)}"
        yield site.otherwise(text, f"padding={_short(own)}", padding=(pixels,) * count)


def window(site: Site) -> Iterator[Change]:
    """Yield other strides and dilations of a convolution, with its own padding or the even one."""
    if not _is_convolution(site):
        return
    count = site.input.ndim - 2
    sizes, own = site.get("weight").shape[2:], site.get("padding", 0)
    for name, steps in product(("stride", "dilation"), (1, 2, 3, 4)):
        now = site.get(name, 1)
        if now in (steps, (steps,) * count, [steps] * count):
            continue
        text = f"{name}: JAX takes {steps}, PyTorch {_short(now)}"
        even = tuple((size - 1) * steps // 2 for size in sizes)
        for pads in (own, even) if name == "dilation" else (own,):
            more = {name: (steps,) * count, "padding": pads}
            yield site.otherwise(text, f"{name}={_short(now)}", **more)


def kernel(site: Site) -> Iterator[Change]:
    """Yield other readings of the kernel."""
    weight = site.get("weight")
    if not site.kind.startswith(("conv", "linear")) or weight is None:
        return
    window = tuple(range(2, weight.ndim))
    transposed = "transpose" in site.kind
    if window and max(weight.shape[2:]) > 1:
        text = "layout: the kernel is mirrored"
        if transposed:
            text = "layout: the transposed convolution's kernel is not mirrored as PyTorch's is"
        yield site.otherwise(text, "flip the kernel's window", weight=weight.flip(window))
    if weight.ndim == 4 and weight.shape[2] == weight.shape[3] > 1:
        text = "layout: the kernel's height and width are swapped"
        fix = "transpose the kernel as (2, 3, 1, 0)"
        yield site.otherwise(text, fix, weight=weight.transpose(2, 3))
    if weight.shape[0] == weight.shape[1] > 1:
        text = "layout: the kernel's input and output channels are swapped"
        yield site.otherwise(text, "swap the kernel's last two axes", weight=weight.transpose(0, 1))
    if site.get("bias") is not None:
        yield site.otherwise("bias: JAX adds none", "use_bias=True", bias=None)


def other_weights(site: Site) -> Iterator[Change]:
    """Yield the weights of the other layers of this shape."""
    own = site.get("weight")
    if own is None or not isinstance(own, torch.Tensor):
        return
    for other in site.same_kind():
        theirs = site.program.arguments(other, site.values)
        weight = theirs.get("weight")
        if weight is None or weight is own or weight.shape != own.shape:
            continue
        text = f"weights exchanged: JAX takes those of {other.path}"
        names = [n for n in ("bias", "running_mean", "running_var") if theirs.get(n) is not None]
        more = {n: theirs[n].clone() for n in names if site.get(n) is not None}
        plain = site.otherwise(text, "load each layer's own weights", weight=weight, **more)
        yield replace(plain, takes=other.path)


def flatten_order(site: Site) -> Iterator[Change]:
    """Yield the other order of an image that was flattened before a linear layer."""
    image = site.unflattened() if site.kind == "linear" else None
    if image is None:
        return
    shape = image.shape

    def run(arguments: dict[str, Any]) -> Any:
        x = arguments["input"].reshape(shape).movedim(1, -1).reshape(arguments["input"].shape)
        return site.original({**arguments, "input": x})

    text = "flatten order: JAX flattens (h, w, c), PyTorch (c, h, w)"
    change = site.change(text, run, "transpose to (n, c, h, w) before the reshape")
    kernel = site.get("weight")
    if kernel.ndim != 2 or kernel.shape[1] != shape[1:].numel():
        yield change
        return
    order = (0, *range(2, len(shape)), 1)
    yield replace(change, relays=((len(kernel), *shape[1:]), order))


def _is_convolution(site: Site) -> bool:
    return site.kind.startswith("conv") and "transpose" not in site.kind


def _same(site: Site, late: bool) -> list[int]:
    count = site.input.ndim - 2
    steps, dilations = (each(site.get(name, 1), count) for name in ("stride", "dilation"))
    sizes, windows = site.input.shape[2:], site.get("weight").shape[2:]
    return same_pads(sizes, windows, steps, dilations, late)


def _short(value: object) -> object:
    if not isinstance(value, tuple | list):
        return value
    parts = cast(Sequence[object], value)
    return parts[0] if len(set(parts)) == 1 else parts


CONVOLUTIONS = (padding, kernel, window, flatten_order, other_weights)
