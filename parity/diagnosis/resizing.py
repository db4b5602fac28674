"""Mistakes in resizing images."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from parity.diagnosis.site import Change, Site

_MODES: dict[str, dict[str, Any]] = {
    "bilinear with half-pixel centers": {"mode": "bilinear", "align_corners": False},
    "bilinear with aligned corners": {"mode": "bilinear", "align_corners": True},
    "bilinear with antialiasing": {"mode": "bilinear", "antialias": True},
    "nearest without half-pixel centers": {"mode": "nearest"},
    "nearest with half-pixel centers": {"mode": "nearest-exact"},
    "bicubic (a = -0.75) with half-pixel centers": {"mode": "bicubic", "align_corners": False},
    "bicubic (a = -0.75) with aligned corners": {"mode": "bicubic", "align_corners": True},
    "bicubic (a = -0.5) with antialiasing": {"mode": "bicubic", "antialias": True},
    "the mean of each area": {"mode": "area"},
}


def resizing(site: Site) -> Iterator[Change]:
    """Yield other ways to resize an image."""
    if site.kind not in ("interpolate", "upsample") or site.input.ndim != 4:
        return
    own = site.get("mode", "nearest"), bool(site.get("align_corners")), bool(site.get("antialias"))
    names = {
        (m["mode"], bool(m.get("align_corners")), bool(m.get("antialias"))): n
        for n, m in _MODES.items()
    }
    their = names.get(own, str(own[0]))
    plain: dict[str, Any] = {"align_corners": None, "antialias": False}
    # Before the one with antialiasing, which is the same where nothing shrinks.
    text = f"resizing: JAX takes bicubic (a = -0.5) with half-pixel centers, PyTorch {their}"
    yield site.change(text, lambda a: _cubic(site, a), f"take {their}")
    for name, mode in _MODES.items():
        if name != their:
            text = f"resizing: JAX takes {name}, PyTorch {their}"
            yield site.change(
                text, lambda a, m=mode: F.interpolate(**{**a, **plain, **m}), f"take {their}"
            )
    text = f"resizing: JAX takes bilinear without half-pixel centers, PyTorch {their}"
    yield site.change(text, lambda a: _from_corner(site, a), f"take {their}")


def _from_corner(site: Site, arguments: dict[str, Any]) -> torch.Tensor:
    """Resize with pixel ``i`` at ``i * scale``, as TensorFlow 1 did."""
    x, size = arguments["input"], site.original(arguments).shape[2:]
    for axis, count in zip((2, 3), size, strict=True):
        n = x.shape[axis]
        at = torch.arange(count, dtype=x.dtype) * n / count
        low = at.floor().long().clamp(max=n - 1)
        part = (at - low).reshape((-1, 1) if axis == 2 else (-1,))
        high = (low + 1).clamp(max=n - 1)
        x = x.index_select(axis, low) * (1 - part) + x.index_select(axis, high) * part
    return x


def _cubic(site: Site, arguments: dict[str, Any]) -> torch.Tensor:
    """Resize by Keys' cubic; weights of pixels beyond the border go to the others."""
    x: torch.Tensor = arguments["input"]
    for axis, count in zip((2, 3), site.original(arguments).shape[2:], strict=True):
        weights = _cubic_weights(x.shape[axis], count).to(x.dtype)
        x = (x.transpose(axis, 3) @ weights).transpose(axis, 3)
    return x


def _cubic_weights(old: int, new: int) -> torch.Tensor:
    """Return what each of `old` pixels adds to each of `new`."""
    at = (torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5
    d = (at - torch.arange(old)[:, None]).abs()
    near, far = (1.5 * d - 2.5) * d * d + 1, ((2.5 - 0.5 * d) * d - 4) * d + 2
    weights = torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))
    return weights / weights.sum(0)
