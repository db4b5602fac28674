"""Mistakes in how operations are joined: residuals, scales, axes, order."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from parity.diagnosis.activations import name_of
from parity.diagnosis.site import Change, Site
from parity.trace.operations import ACTIVATIONS, LAYOUT, NORMS
from parity.trace.torch_program import Run

_RECENT = 12  # operations back that a residual may come from


def residual(site: Site) -> Iterator[Change]:
    """Yield one of two summands alone."""
    first, *more = site.arguments.values()
    if site.kind != "add" or not more or not isinstance(more[0], torch.Tensor):
        return
    if first.shape == more[0].shape:
        for i in (1, 0):
            text = "missing residual: JAX does not add the input"
            yield site.change(text, lambda a, i=i: list(a.values())[1 - i], "add the input")
            text = "missing residual: JAX gives the input alone"
        yield site.change(
            "residual: JAX subtracts, PyTorch adds", lambda a: torch.sub(*list(a.values())[:2])
        )


def unexpected_residual(site: Site) -> Iterator[Change]:
    """Yield the sum of an operation's output and an earlier tensor."""
    if site.kind in LAYOUT or not site.gives_one:
        return
    shape = site.values[site.operation.writes[0]].shape
    earlier = site.program.operations[: site.operation.index]
    for other in reversed(earlier[-_RECENT:]):
        slot = other.writes[0]
        if other.kind not in LAYOUT and site.values[slot].shape == shape:
            text = f"residual: JAX adds the output of {other.path or other.kind}, PyTorch nothing"
            run = partial(_plus, site, slot)
            yield Change(text, {site.operation.index: run}, "leave it out", portable=False)


def _plus(site: Site, slot: int, arguments: dict[str, Any]) -> Any:
    return site.original(arguments) + site.values[slot]


def scale(site: Site) -> Iterator[Change]:
    """Yield a product without its factor, or with another."""
    if site.kind not in ("mul", "div") or len(site.arguments) < 2:
        return
    x, factor = list(site.arguments.values())[:2]
    x, factor = (x, factor) if isinstance(x, torch.Tensor) else (factor, x)
    if isinstance(factor, torch.Tensor) and factor.numel() > 1:
        if any(site.is_given(slot) for slot in site.operation.reads):
            text = "missing scale: JAX leaves out the layer's scale"
            yield site.change(text, _first_tensor, "multiply by the scale")
            for number in site.numbers(1e-6, 1e6):
                text = f"scale: JAX multiplies by {number:.4g} beside the layer's scale"
                yield site.change(text, lambda a, n=number: site.original(a) * n, "leave it out")
            return
        for i in (0, 1):
            text = f"missing product: JAX gives the {('first', 'second')[i]} factor alone"
            yield site.change(text, lambda a, i=i: list(a.values())[i], "multiply the two")
        return
    own = float(factor)
    own = own if site.kind == "mul" else 1 / own
    text = f"missing scale: JAX does not multiply by {own:.4g}"
    yield site.change(text, _first_tensor, f"multiply by {own:.4g}")
    for number in site.numbers(1e-6, 1e6):
        for other in {number, 1 / number, number**0.5, number**-0.5}:
            if abs(other / own - 1) > 1e-9:
                text = f"scale: JAX multiplies by {other:.4g}, PyTorch by {own:.4g}"
                yield site.change(text, lambda a, n=other: _first_tensor(a) * n, f"take {own:.4g}")


def attention_scale(site: Site) -> Iterator[Change]:
    """Yield other factors of an attention's products."""
    if site.kind == "scaled_dot_product_attention":
        width = site.get("query").shape[-1]
        own = site.get("scale", width**-0.5)
        for factor in _factors(site, own, width):
            text = f"scale: JAX multiplies attention by {factor:.4g}, PyTorch by {own:.4g}"
            yield site.otherwise(text, f"multiply by {own:.4g}", scale=factor)
        causal = bool(site.get("is_causal", False))
        words = ("masks nothing", "what is later") if causal else ("masks what is later", "nothing")
        text = "mask: JAX's attention {}, PyTorch's {}".format(*words)
        yield site.otherwise(text, "", is_causal=not causal)
    elif site.kind == "multi_head_attention_forward" and site.get("in_proj_weight") is not None:
        embed = site.get("embed_dim_to_check")
        width = embed // site.get("num_heads")
        own = width**-0.5
        for factor in _factors(site, own, width):
            text = f"scale: JAX multiplies attention by {factor:.4g}, PyTorch by {own:.4g}"
            ones = torch.ones(3 * embed, dtype=site.input.dtype)
            ones[:embed] = factor / own  # the query's part
            weight, bias = site.get("in_proj_weight"), site.get("in_proj_bias")
            more: dict[str, Any] = {"in_proj_weight": weight * ones[:, None]}
            if bias is not None:
                more["in_proj_bias"] = bias * ones
            yield site.otherwise(text, f"multiply by {own:.4g}", **more)


def axis(site: Site) -> Iterator[Change]:
    """Yield other axes of a softmax."""
    if site.kind not in ("softmax", "log_softmax"):
        return
    ndim = site.input.ndim
    own = site.get("dim", -1) % ndim
    for other in (n for n in range(ndim) if n != own):
        text = f"axis: JAX's {site.kind} is over axis {other} of {ndim}, PyTorch's over axis {own}"
        yield site.otherwise(text, f"take axis {own} (in PyTorch's order)", dim=other)


def order(site: Site) -> Iterator[Change]:
    """Yield an activation before the normalization that PyTorch applies first, and the reverse."""
    followers = site.followers()
    if len(followers) != 1:
        return
    after = followers[0]
    kinds = site.kind in NORMS, after.kind in NORMS
    acts = site.kind in ACTIVATIONS, after.kind in ACTIVATIONS
    if not ((kinds[0] and acts[1]) or (acts[0] and kinds[1])):
        return
    later = Site(after, site.program, site.values, site.jax_program, site.training)
    act, norm = (site, later) if kinds[1] else (later, site)
    first, second = name_of(act), norm.kind
    first, second = (first, second) if acts[1] else (second, first)
    act_key, norm_key = next(iter(act.arguments)), next(iter(norm.arguments))

    def activated(x: torch.Tensor) -> torch.Tensor:
        return act.original({**act.arguments, act_key: x})

    def both(arguments: dict[str, Any]) -> Any:
        if kinds[1]:
            return activated(norm.original(arguments))
        return norm.original({**arguments, norm_key: activated(arguments[norm_key])})

    text = f"order: JAX applies {first} before {second}, PyTorch after it"
    runs: dict[int, Run] = {norm.operation.index: both, act.operation.index: _first}
    yield Change(text, runs, f"apply {second} first")


def _first(arguments: dict[str, Any]) -> Any:
    return next(iter(arguments.values()))


def joined(site: Site) -> Iterator[Change]:
    """Yield the parts of a concatenation in another order."""
    parts = next(iter(site.arguments.values()))
    if site.kind not in ("cat", "concat", "concatenate") or len(parts) < 2:
        return
    text = "order: JAX joins the parts in the opposite order"
    yield site.change(
        text, lambda a: site.original({**a, next(iter(a)): list(next(iter(a.values())))[::-1]})
    )


def _factors(site: Site, own: float, width: int) -> list[float]:
    numbers = [1.0, width**-0.5, 1 / width, width**0.5, *site.jax_program.numbers]
    usual = {f for n in numbers if n > 0 for f in (n, 1 / n, n**-0.5)}
    return [f for f in dict.fromkeys([1.0, *sorted(usual)]) if abs(f / own - 1) > 1e-9]


def _first_tensor(arguments: dict[str, Any]) -> torch.Tensor:
    found = [v for v in arguments.values() if isinstance(v, torch.Tensor)]
    return max(found, key=torch.Tensor.numel) if len(found) > 1 else found[0]


STRUCTURE = (residual, order, scale, attention_scale, axis, joined)
