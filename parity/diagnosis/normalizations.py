"""Mistakes in normalizations."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from parity.diagnosis.site import Change, Site
from parity.trace.operations import NORMS

USUAL_EPS = (1e-3, 1e-5, 1e-6, 1e-8, 1e-7, 1e-4)


def epsilon(site: Site) -> Iterator[Change]:
    """Yield other numbers added to the variance."""
    if site.kind not in NORMS:
        return
    own = eps_of(site)
    # Zero last: what is too small to be told from it, such as 1e-12, stands in JAX's program.
    for eps in (*site.numbers(1e-30, 0.1, USUAL_EPS), 0.0):
        if eps != own:
            yield site.otherwise(*eps_differs(own, eps), eps=eps)


def statistics(site: Site) -> Iterator[Change]:
    """Yield other statistics to normalize by."""
    if site.kind != "batch_norm" or site.get("running_mean") is None:
        return
    if site.training:
        text = "statistics: JAX normalizes by the running ones in train mode"
        yield site.otherwise(text, "call it in train mode", training=False)
        yield site.change("variance bias: JAX normalizes by the unbiased variance", _by_unbiased)
    else:
        text = "statistics: JAX normalizes by the batch's own in eval mode"
        own = {"running_mean": None, "running_var": None, "training": True}
        yield site.otherwise(text, "call it in eval mode", **own)


def groups(site: Site) -> Iterator[Change]:
    """Yield other numbers of groups, and groups that take every n-th channel."""
    if site.kind != "group_norm":
        return
    channels, own = site.input.shape[1], site.get("num_groups")
    for count in (n for n in range(1, channels + 1) if channels % n == 0 and n != own):
        text = f"groups: JAX normalizes in {count} groups, PyTorch in {own}"
        yield site.otherwise(text, f"num_groups={own}", num_groups=count)


def scale(site: Site) -> Iterator[Change]:
    """Yield a normalization without its scale or its bias."""
    if site.kind not in NORMS:
        return
    given = [name for name in ("weight", "bias") if site.get(name) is not None]
    for names in (
        ([name] for name in given) if len(given) == 1 else ([*given], *([n] for n in given))
    ):
        words = " and ".join({"weight": "scale"}.get(name, name) for name in names)
        text = f"{words}: JAX applies none"
        yield site.otherwise(text, "", **dict.fromkeys(names))


def kind(site: Site) -> Iterator[Change]:
    """Yield another kind of normalization over the same values."""
    if site.kind not in NORMS:
        return
    eps, weight, bias = eps_of(site), site.get("weight"), site.get("bias")
    shape = (
        (-1,) + (1,) * (site.input.ndim - 2)
        if site.kind not in ("layer_norm", "rms_norm")
        else (-1,)
    )

    def by(axes: tuple[int, ...], centered: bool = True, unbiased: bool = False):
        def run(arguments: dict[str, Any]) -> torch.Tensor:
            x = arguments["input"]
            mean = x.mean(axes, keepdim=True) if centered else 0
            count = x[0].numel() if axes[0] else x.numel()
            square = (x - mean).square().mean(axes, keepdim=True)
            square = square * (count / (count - 1) if unbiased else 1)
            y = (x - mean) / (square + eps).sqrt()
            y = y if weight is None else y * weight.reshape(shape)
            return y if bias is None else y + bias.reshape(shape)

        return run

    last, ndim = site.input.ndim - 1, site.input.ndim
    if site.kind == "layer_norm" and weight is not None and weight.ndim == 1:
        yield site.change("normalization: JAX does not subtract the mean", by((last,), False))
    if site.kind == "rms_norm":
        yield site.change("normalization: JAX subtracts the mean", by((last,)))
    if site.kind in ("batch_norm", "group_norm", "instance_norm") and ndim > 2:
        spatial = tuple(range(2, ndim))
        choices = {
            "over all but the batch": (1, *spatial),
            "over channels": (1,),
            "over pixels": spatial,
        }
        for words, axes in choices.items():
            yield site.change(f"normalization: JAX normalizes {words}", by(axes))


def eps_differs(theirs: float, ours: float) -> tuple[str, str]:
    """Return how a report says that two norms add different numbers, and the fix."""
    own, other = _told_apart(ours, theirs)
    return f"eps: JAX adds {own} to the variance, PyTorch {other}", f"epsilon={other}"


def eps_of(site: Site) -> float:
    """Return the number that PyTorch adds to the variance."""
    default = torch.finfo(site.input.dtype).eps if site.kind == "rms_norm" else 1e-5
    return float(site.get("eps", default))


def _told_apart(first: float, second: float) -> tuple[str, str]:
    """Return two different numbers with as many digits as tell them apart, three at least."""
    both = ((f"{first:.{n}g}", f"{second:.{n}g}") for n in range(3, 18))
    return next(pair for pair in both if pair[0] != pair[1])


def _by_unbiased(arguments: dict[str, Any]) -> torch.Tensor:
    x = arguments["input"]
    axes = (0, *range(2, x.ndim))
    mean, var = x.mean(axes), x.var(axes, unbiased=True)
    more = {name: arguments.get(name) for name in ("weight", "bias", "eps")}
    return F.batch_norm(x, mean, var, training=False, **more)  # pyright: ignore[reportArgumentType]


NORMALIZATIONS = (epsilon, statistics, groups, kind, scale)
