"""A described network in PyTorch, as its users write one."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tests.helpers.random_nets.description import Net, Step

ACTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "sigmoid": torch.sigmoid,
}


def build(net: Net) -> tuple[nn.Module, dict[str, str]]:
    """Return the module, and the path of each step by its name."""
    made: dict[str, nn.Module] = {}
    module = _sequence(net.steps, made)
    paths = {id(part): path for path, part in module.named_modules()}
    return module, {name: paths[id(part)] for name, part in made.items()}


def _sequence(steps: tuple[Step, ...], made: dict[str, nn.Module]) -> nn.Sequential:
    return nn.Sequential(*(_part(step, made) for step in steps))


def _part(step: Step, made: dict[str, nn.Module]) -> nn.Module:
    o = step.options
    if step.kind in COMPOSITES:
        part = COMPOSITES[step.kind](_sequence(step.children, made), o)
    elif step.kind in LAYERS:
        part = LAYERS[step.kind](o)
    else:
        part = Function(FUNCTIONS[step.kind], o)
    made[step.name] = part
    return part


class Function(nn.Module):
    """What has no tensors."""

    def __init__(self, function: Callable[[torch.Tensor, Any], torch.Tensor], options: Any):
        super().__init__()
        self.function, self.options = function, options

    def forward(self, x):
        return self.function(x, self.options)


class Unit(nn.Module):
    """Steps one after another."""

    def __init__(self, body: nn.Module, options: Any):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


class Residual(Unit):
    """Adds the input, with a scale or without."""

    def __init__(self, body: nn.Module, options: Any):
        super().__init__(body, options)
        self.gamma = None
        if options["scaled"]:
            self.gamma = nn.Parameter(torch.ones(options["features"], 1, 1))

    def forward(self, x):
        y = self.body(x)
        return x + (y if self.gamma is None else y * self.gamma)


class Gate(Unit):
    """Multiplies each channel by what its mean says."""

    def forward(self, x):
        return x * self.body(x.mean((2, 3), keepdim=True))


class Joined(Unit):
    """Puts what is new beside what was there."""

    def forward(self, x):
        return torch.cat([x, self.body(x)], 1)


class ImageLayerNorm(nn.LayerNorm):
    """Normalizes each pixel over its channels."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Self-attention from its definition."""

    def __init__(self, options: Any):
        super().__init__()
        self.heads = options["heads"]
        self.qkv = nn.Linear(options["features"], 3 * options["features"])
        self.project = nn.Linear(options["features"], options["features"])

    def forward(self, x):
        n, t, c = x.shape
        size = c // self.heads
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * size**-0.5).softmax(-1)
        return self.project((weights @ v).transpose(1, 2).reshape(n, t, c))


def _conv(o: Any) -> nn.Module:
    padding = o["dilation"] * (o["kernel"] - 1) // 2
    return nn.Conv2d(
        o["inputs"],
        o["out"],
        o["kernel"],
        o["stride"],
        padding,
        o["dilation"],
        o["groups"],
        o["bias"],
    )


def _resize(x: torch.Tensor, o: Any) -> torch.Tensor:
    if o["mode"] == "nearest":
        return F.interpolate(x, o["size"], mode="nearest-exact")
    return F.interpolate(x, o["size"], mode="bilinear", antialias=o["mode"] == "antialias")


COMPOSITES = {"unit": Unit, "residual": Residual, "gate": Gate, "joined": Joined}
LAYERS: dict[str, Callable[[Any], nn.Module]] = {
    "conv": _conv,
    "up": lambda o: nn.ConvTranspose2d(o["inputs"], o["out"], 2, 2),
    "batch_norm": lambda o: nn.BatchNorm2d(o["features"]),
    "group_norm": lambda o: nn.GroupNorm(o["groups"], o["features"]),
    "layer_norm": lambda o: ImageLayerNorm(o["features"]),
    "token_norm": lambda o: nn.LayerNorm(o["features"], eps=1e-6),
    "rms_norm": lambda o: nn.RMSNorm(o["features"], eps=1e-6),
    "linear": lambda o: nn.Linear(o["inputs"], o["out"]),
    "head": lambda o: nn.Linear(o["inputs"], o["out"]),
    "attention": Attention,
    "dropout": lambda o: nn.Dropout(o["rate"]),
}
FUNCTIONS: dict[str, Callable[[torch.Tensor, Any], torch.Tensor]] = {
    "act": lambda x, o: ACTS[o["function"]](x),
    "shift": lambda x, o: x - o["by"],
    "max_pool": lambda x, o: F.max_pool2d(x, 3, o["stride"], 1),
    "avg_pool": lambda x, o: F.avg_pool2d(x, 3, o["stride"], 1, count_include_pad=o["counts"]),
    "resize": _resize,
    "average": lambda x, o: x.mean((2, 3)),
    "flatten": lambda x, o: x.flatten(1),
    "tokens": lambda x, o: x.flatten(2).transpose(1, 2),
    "token_mean": lambda x, o: x.mean(1),
}
