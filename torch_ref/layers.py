"""The layers: convolution, normalization, their union, the gate and drop path."""

from functools import partial
from typing import Any

import torch
from torch import nn

from torch_ref.activations import relu, sigmoid
from torch_ref.types import Activation, Factory, Size


def Conv(
    in_features: int,
    out_features: int,
    kernel_size: Size,
    *,
    stride: Size = 1,
    dilation: Size = 1,
    groups: int = 1,
    padding: Size | None = None,
    use_bias: bool = True,
) -> nn.Conv2d:
    """Return `nn.Conv2d` with padding that keeps the size at stride 1."""
    if padding is None:
        padding = keeping_size(kernel_size, dilation)
    return nn.Conv2d(
        in_features,
        out_features,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=use_bias,
    )


class Mixed:
    """A kernel size of several, one for each part of the channels."""

    def __init__(self, sizes: tuple[int, ...]):
        self.sizes = sizes


class MixedConv(nn.Module):
    """Convolve each part of the channels with kernels of its own size."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: Mixed,
        *,
        groups: int = 1,
        **window: Any,
    ):
        super().__init__()
        inputs, outputs = (
            parts(features, len(kernel_size.sizes)) for features in (in_features, out_features)
        )
        self.inputs = inputs
        self.convs = nn.ModuleList(
            Conv(before, after, size, groups=1 if groups == 1 else before, **window)
            for before, after, size in zip(inputs, outputs, kernel_size.sizes, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Split, convolve, concatenate."""
        split = torch.split(x, self.inputs, 1)
        return torch.cat([conv(part) for conv, part in zip(self.convs, split, strict=True)], 1)


class EvoNorm(nn.Module):
    """Normalization and activation in one; scale and bias alone where there is no activation."""

    def __init__(
        self,
        num_features: int,
        *,
        num_groups: int = 32,
        group_size: int | None = None,
        epsilon: float = 1e-5,
    ):
        super().__init__()
        self.groups = num_features // group_size if group_size else num_groups
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.gate: nn.Parameter | None = nn.Parameter(torch.ones(num_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Divide by each group's deviation, gate, scale, shift."""
        if self.gate is not None:
            grouped = x.reshape(len(x), self.groups, -1)
            deviation = (grouped.var(2, correction=0, keepdim=True) + self.epsilon).sqrt()
            gated = x * torch.sigmoid(x * self.gate[:, None, None])
            x = (gated.reshape(grouped.shape) / deviation).reshape(x.shape)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


def BatchNorm(num_features: int, *, momentum: float = 0.9, epsilon: float = 1e-5) -> nn.BatchNorm2d:
    """Return `nn.BatchNorm2d`; `momentum` is the decay, 1 minus what PyTorch calls so."""
    return nn.BatchNorm2d(num_features, eps=epsilon, momentum=1 - momentum)


class ConvNormAct(nn.Module):
    """Convolution, normalization, activation."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: Size | Mixed = 3,
        *,
        stride: Size = 1,
        dilation: Size = 1,
        groups: int = 1,
        padding: Size | None = None,
        use_bias: bool = True,
        norm: Factory | None = BatchNorm,
        act: Activation | None = relu,
    ):
        super().__init__()
        options: dict[str, Any] = {
            "stride": stride,
            "dilation": dilation,
            "groups": groups,
            "padding": padding,
            "use_bias": use_bias,
        }
        self.conv: nn.Module = (
            MixedConv(in_features, out_features, kernel_size, **options)
            if isinstance(kernel_size, Mixed)
            else Conv(in_features, out_features, kernel_size, **options)
        )
        self.norm = norm(out_features) if norm else None
        self.act = act
        if isinstance(self.norm, EvoNorm):
            if act is None:
                self.norm.register_parameter("gate", None)
            self.act = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the three in turn."""
        return through(x, self.conv, self.norm, self.act)


Conv1X1BnReLU = partial(ConvNormAct, kernel_size=1)
Conv3X3BnReLU = partial(ConvNormAct, kernel_size=3)


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from all channels' means."""

    def __init__(
        self,
        in_features: int,
        *,
        ratio: float = 0.25,
        squeeze_features: int | None = None,
        act: Activation = relu,
        gate: Activation = sigmoid,
    ):
        super().__init__()
        squeezed = squeeze_features or round(in_features * ratio)
        self.reduce = nn.Conv2d(in_features, squeezed, kernel_size=1)
        self.expand = nn.Conv2d(squeezed, in_features, kernel_size=1)
        self.act = act
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Squeeze, excite, scale."""
        y = x.mean((2, 3), keepdim=True)
        y = self.act(self.reduce(y))
        return x * self.gate(self.expand(y))


class StochasticDepth(nn.Module):
    """Zero the branch of some samples in training, and rescale the others."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop whole samples."""
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(len(x), 1, 1, 1, dtype=x.dtype, device=x.device) >= self.rate
        return torch.where(kept, x / (1 - self.rate), 0)


def through(x: torch.Tensor, *steps: Activation | None) -> torch.Tensor:
    """Return what the steps make of the input, one after the other; those that are None do not."""
    for step in steps:
        if step is not None:
            x = step(x)
    return x


def parts(features: int, count: int) -> list[int]:
    """Return the channels of each of `count` parts; the first has what is left over too."""
    each, rest = divmod(features, count)
    return [each + rest, *[each] * (count - 1)]


def pair(value: Size) -> tuple[int, int]:
    """Return `value` for height and for width."""
    return value if isinstance(value, tuple) else (value, value)


def keeping_size(kernel_size: Size, dilation: Size) -> tuple[int, int]:
    """Return the padding on each side that keeps the size at stride 1."""
    (height, width), (down, across) = pair(kernel_size), pair(dilation)
    return down * (height - 1) // 2, across * (width - 1) // 2
