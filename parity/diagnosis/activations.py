"""Mistakes in activations."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from parity.diagnosis.site import Change, Site
from parity.trace.operations import ACTIVATIONS, LAYOUT

Function = Callable[[torch.Tensor], torch.Tensor]

FUNCTIONS: dict[str, Function] = {
    "relu": F.relu,
    "gelu by erf": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu by sigmoid": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": F.silu,
    "relu6": F.relu6,
    "hard_swish": lambda x: x * F.relu6(x + 3) / 6,
    "hard_swish by Keras's hard_sigmoid": lambda x: x * (0.2 * x + 0.5).clamp(0, 1),
    "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,
    "hard_sigmoid as Keras's, 0.2 x + 0.5": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "mish": F.mish,
}
_OWN = {"hardswish": "hard_swish", "hardsigmoid": "hard_sigmoid"}
_SLOPES = (0.01, 0.2, 0.1, 0.3, 0.05, 0.02)


def another(site: Site) -> Iterator[Change]:
    """Yield other activations in the place of one."""
    if site.kind not in ACTIVATIONS:
        return
    own = name_of(site)
    for name, function in FUNCTIONS.items():
        if name != own:
            text = f"activation: JAX applies {name}, PyTorch {own}"
            yield site.change(text, lambda a, f=function: f(next(iter(a.values()))), f"apply {own}")
    for slope in site.numbers(0.0005, 0.9, _SLOPES):
        if site.kind == "leaky_relu" and slope == site.get("negative_slope", 0.01):
            continue
        text = f"activation: JAX applies leaky_relu of slope {slope:.3g}, PyTorch {own}"
        yield site.change(
            text, lambda a, s=slope: F.leaky_relu(next(iter(a.values())), s), f"apply {own}"
        )
    for alpha in site.numbers(0.05, 5.0) if site.kind in ("elu", "celu") else ():
        text = f"activation: JAX applies elu of alpha {alpha:.3g}, PyTorch {own}"
        yield site.change(text, lambda a, s=alpha: F.elu(next(iter(a.values())), s))


def missing(site: Site) -> Iterator[Change]:
    """Yield the input as it is in the place of an activation."""
    if site.kind in ACTIVATIONS:
        text = f"missing activation: JAX applies none, PyTorch {name_of(site)}"
        yield site.change(text, lambda a: next(iter(a.values())), f"apply {name_of(site)}")


def unexpected(site: Site) -> Iterator[Change]:
    """Yield an activation after an operation that has none."""
    if site.kind in ACTIVATIONS or site.kind in LAYOUT or not site.gives_one:
        return
    for name, function in FUNCTIONS.items():
        text = f"activation: JAX applies {name} after the {site.kind}, PyTorch none"
        yield site.change(text, lambda a, f=function: f(site.original(a)), f"leave out {name}")


def name_of(site: Site) -> str:
    """Return what an activation is called here, its numbers included."""
    if site.kind == "gelu":
        return "gelu by tanh" if site.get("approximate") == "tanh" else "gelu by erf"
    if site.kind == "leaky_relu":
        return f"leaky_relu of slope {site.get('negative_slope', 0.01):.3g}"
    return _OWN.get(site.kind, site.kind)


ACTIVATION_MISTAKES = (missing, another)  # of positive numbers ReLU is none
