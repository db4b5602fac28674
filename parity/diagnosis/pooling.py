"""Mistakes in pooling."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from parity.diagnosis.same import each, same_pads
from parity.diagnosis.site import Change, Site


def max_pooling(site: Site) -> Iterator[Change]:
    """Yield other ways to pool where PyTorch takes the maximum."""
    if not site.kind.startswith("max_pool"):
        return
    average = getattr(F, site.kind.replace("max", "avg"))
    names = ("kernel_size", "stride", "padding", "ceil_mode")
    window = {n: site.get(n) for n in names if site.get(n) is not None}
    if _pads(site):
        text = "padding: JAX pads with zeros before the maximum, PyTorch with -inf"

        def padded(a: dict[str, Any]) -> torch.Tensor:
            pads = _pads(site)
            return site.original({**a, "input": F.pad(a["input"], pads), "padding": 0})

        yield site.change(text, padded, "pad with -inf")
    for counted in (True, False):
        text = "pooling: JAX takes the average, PyTorch the maximum"
        yield site.change(
            text,
            lambda a, c=counted: average(a["input"], **window, count_include_pad=c),
            "take the maximum",
        )
    yield from _windows(site)
    pads = _same(site)
    plain = {"padding": 0, "ceil_mode": False}

    def same(a: dict[str, Any]) -> torch.Tensor:
        return site.original({**a, **plain, "input": F.pad(a["input"], pads, value=-torch.inf)})

    yield site.change(_same_text(site), same, f"padding={site.get('padding', 0)}")


def average_pooling(site: Site) -> Iterator[Change]:
    """Yield other ways to pool where PyTorch takes the average."""
    if not site.kind.startswith("avg_pool"):
        return
    counts = site.get("count_include_pad", True)
    words = ("counts", "leaves out") if not counts else ("leaves out", "counts")
    text = "padding: JAX's average {} the padding, PyTorch's {} it".format(*words)
    yield site.otherwise(text, f"count_include_pad={counts}", count_include_pad=not counts)
    maximum = getattr(F, site.kind.replace("avg", "max"))
    names = ("kernel_size", "stride", "padding", "ceil_mode")
    window = {n: site.get(n) for n in names if site.get(n) is not None}
    text = "pooling: JAX takes the maximum, PyTorch the average"
    yield site.change(text, lambda a: maximum(a["input"], **window), "take the average")
    yield from _windows(site)
    pads = _same(site)
    plain = {"padding": 0, "ceil_mode": False}

    def padded(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        return site.original({**a, **plain, "input": F.pad(x, pads)})

    def inside(a: dict[str, Any]) -> torch.Tensor:
        return padded(a, a["input"]) / padded(a, torch.ones_like(a["input"]))

    fix = f"padding={site.get('padding', 0)}"
    yield site.change(_same_text(site), inside, fix)
    yield site.change(
        f"{_same_text(site)}, and counts the padding", lambda a: padded(a, a["input"]), fix
    )


def global_pooling(site: Site) -> Iterator[Change]:
    """Yield other ways to pool a whole map."""
    x = site.input
    if site.kind == "mean" or site.kind.startswith("adaptive_avg_pool"):
        text = "pooling: JAX takes the maximum, PyTorch the average"
        yield site.change(text, _spatial(site, torch.amax), "take the average")
    if site.kind == "amax" or site.kind.startswith("adaptive_max_pool"):
        text = "pooling: JAX takes the average, PyTorch the maximum"
        yield site.change(text, _spatial(site, torch.mean), "take the maximum")
    if site.kind == "mean" and x.ndim > 2:
        text = "pooling: JAX takes the sum, PyTorch the average"
        yield site.change(text, _spatial(site, torch.sum), "take the average")


def missing(site: Site) -> Iterator[Change]:
    """Yield the map as it is in the place of its pooling."""
    if site.kind.startswith(("max_pool", "avg_pool", "adaptive_")) and site.gives_one:
        size = site.get("output_size") if site.kind.startswith("adaptive_") else None
        own = site.kind if size is None else f"{site.kind} to {size}"
        text = f"missing pooling: JAX applies none, PyTorch {own}"
        yield site.change(text, lambda a: next(iter(a.values())), f"apply {own}")


def _windows(site: Site) -> Iterator[Change]:
    """Yield other rounding of the output's size, other strides and paddings."""
    ceil = bool(site.get("ceil_mode", False))
    words = ("down", "up") if ceil else ("up", "down")
    text = "pooling: JAX rounds the output's size {}, PyTorch {}".format(*words)
    yield site.otherwise(text, f"ceil_mode={ceil}", ceil_mode=not ceil)
    size, own = site.get("kernel_size"), site.get("padding", 0)
    largest = (size if isinstance(size, int) else min(size)) // 2
    for pixels in range(largest + 1):
        text = f"padding: JAX pads the pooling by {pixels}, PyTorch by {own}"
        yield site.otherwise(text, f"padding={own}", padding=pixels)
    for steps in (1, 2, 3):
        text = f"stride: JAX pools with {steps}, PyTorch with {site.get('stride', size)}"
        yield site.otherwise(text, "", stride=steps)


def _same(site: Site) -> list[int]:
    sizes, size = site.input.shape[2:], site.get("kernel_size")
    given = size, site.get("stride") or size, site.get("dilation", 1)
    windows, steps, dilations = (each(value, len(sizes)) for value in given)
    return same_pads(sizes, windows, steps, dilations)


def _same_text(site: Site) -> str:
    own = site.get("padding", 0)
    return f"padding: JAX pads the pooling as TensorFlow's SAME, unevenly; PyTorch by {own}"


def _pads(site: Site) -> list[int]:
    pads, count = site.get("padding", 0), site.input.ndim - 2
    each = (pads,) * count if isinstance(pads, int) else tuple(pads)
    doubled = [x for pad in reversed(each) for x in (pad, pad)]
    return doubled if any(doubled) else []


def _spatial(site: Site, reduce: Any):
    def run(a: dict[str, Any]) -> torch.Tensor:
        x, shape = a["input"], site.original(a).shape
        axes = tuple(range(2, x.ndim)) if site.kind.startswith("adaptive") else None
        axes = axes or _axes(a)
        return reduce(x, axes).reshape(shape)

    return run


def _axes(arguments: dict[str, Any]) -> tuple[int, ...]:
    axes = arguments.get("dim", arguments.get("argument 1", ()))
    return (axes,) if isinstance(axes, int) else tuple(axes)


POOLING = (max_pooling, average_pooling, global_pooling, missing)
