"""Common mistakes in a layer, each as the output that it would give.

Every function yields pairs of a sentence and a predicted output, NHWC. `diagnose` names the
first whose prediction is what Flax computed.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from parity.sides.weights import BATCH_NORM
from torch_ref.harness.layout import from_nhwc, to_nhwc

Prediction = tuple[str, np.ndarray]

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "no activation": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "hard_swish": F.hardswish,
    "hard_sigmoid": F.hardsigmoid,
    "sigmoid": F.sigmoid,
    "gelu": F.gelu,
    "tanh-approximated gelu": lambda x: F.gelu(x, approximate="tanh"),
    "tanh": F.tanh,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
}


def of_convolution(
    layer: nn.Conv2d, x: np.ndarray, earlier: Mapping[str, np.ndarray]
) -> Iterator[Prediction]:
    """Yield a convolution's output under each mistake.

    Args:
        layer: PyTorch's convolution.
        x: its input, NHWC.
        earlier: outputs of earlier layers, which may lack an activation before this one.
    """
    images, kernel = from_nhwc(x, layer.weight.dtype), layer.weight
    same = F.pad(images, _same_padding(layer, images.shape))
    yield "padding: Flax pads as TensorFlow's SAME, unevenly", _conv(layer, same, kernel, 0)
    for pixels in range(max(layer.kernel_size) + 1):
        if (pixels, pixels) != layer.padding:
            text = f"padding: Flax pads by {pixels}, PyTorch by {layer.padding}"
            yield text, _conv(layer, images, kernel, pixels)
    yield "layout: the kernel is mirrored", _conv(layer, images, kernel.flip(2, 3))
    if layer.kernel_size[0] == layer.kernel_size[1]:
        swapped = kernel.transpose(2, 3)
        yield "layout: the kernel's height and width are swapped", _conv(layer, images, swapped)
    if kernel.shape[0] == kernel.shape[1]:
        swapped = kernel.transpose(0, 1)
        yield (
            "layout: the kernel's input and output channels are swapped",
            _conv(layer, images, swapped),
        )
    if layer.bias is not None:
        yield "bias: Flax adds none", _conv(layer, images, kernel, bias=False)
    for text, dtype in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        low = (images.to(dtype).to(images.dtype), kernel.to(dtype).to(kernel.dtype))
        yield f"reduced matmul precision: operands rounded to {text}", _conv(layer, low[0], low[1])
    low = (_tf32(images), _tf32(kernel))
    yield "reduced matmul precision: operands rounded to TF32", _conv(layer, low[0], low[1])
    for path, value in earlier.items():
        if value.shape == x.shape and not np.array_equal(value, x):
            text = f"missing activation: Flax feeds it the output of {path} as it is"
            yield text, _conv(layer, from_nhwc(value, layer.weight.dtype), kernel)


def of_batch_norm(
    layer: BATCH_NORM, x: np.ndarray, ours: np.ndarray, training: bool
) -> Iterator[Prediction]:
    """Yield a normalization's output under each mistake.

    Args:
        layer: PyTorch's normalization before the step.
        x: its input, NHWC.
        ours: what Flax computed, from which its eps is fitted.
        training: whether the batch's own statistics should normalize.
    """
    mean, var = array(layer.running_mean), array(layer.running_var)
    axes = tuple(range(x.ndim - 1))
    batch_mean, batch_var = x.mean(axes), x.var(axes)
    weight, bias = array(layer.weight), array(layer.bias)
    if training:
        count = x.size // x.shape[-1]
        unbiased = batch_var * count / (count - 1)
        text = "variance bias: Flax normalizes by the unbiased variance"
        yield text, _normalized(x, batch_mean, unbiased, layer.eps, weight, bias)
        text = "statistics: Flax normalizes by the running ones in train mode"
        yield text, _normalized(x, mean, var, layer.eps, weight, bias)
        mean, var = batch_mean, batch_var
    else:
        text = "statistics: Flax normalizes by the batch's own in eval mode"
        yield text, _normalized(x, batch_mean, batch_var, layer.eps, weight, bias)
    eps = _fitted_eps(x - mean, var, ours - bias, weight)
    text = f"eps: Flax adds {eps:.3g} to the variance, PyTorch {layer.eps:.3g}"
    yield text, _normalized(x, mean, var, eps, weight, bias)
    text = "scale and bias: Flax applies none"
    yield text, _normalized(x, mean, var, layer.eps, np.ones_like(mean), np.zeros_like(mean))


def of_activation(parts: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield each activation of each part and of each sum of two: activation, sum, output."""
    sums = dict(parts)
    names = list(parts)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if parts[first].shape == parts[second].shape:
                sums[f"{first} + {second}"] = parts[first] + parts[second]
    for text, value in sums.items():
        for name, function in ACTIVATIONS.items():
            yield name, text, function(torch.tensor(value)).numpy()


def _conv(
    layer: nn.Conv2d,
    images: torch.Tensor,
    kernel: torch.Tensor,
    padding: int | None = None,
    bias: bool = True,
) -> np.ndarray:
    pads = layer.padding if padding is None else (padding, padding)
    with torch.no_grad():
        y = F.conv2d(
            images,
            kernel,
            layer.bias if bias else None,
            layer.stride,  # pyright: ignore[reportArgumentType]
            pads,  # pyright: ignore[reportArgumentType]
            layer.dilation,  # pyright: ignore[reportArgumentType]
            layer.groups,
        )
    return to_nhwc(y)


def _same_padding(layer: nn.Conv2d, shape: torch.Size) -> list[int]:
    pads = []
    for size, kernel, stride, dilation in zip(
        shape[2:], layer.kernel_size, layer.stride, layer.dilation, strict=True
    ):
        total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
        pads = [total // 2, total - total // 2, *pads]  # F.pad counts from the last axis
    return pads


def _tf32(value: torch.Tensor) -> torch.Tensor:
    """Round to TF32's ten bits of mantissa."""
    bits = value.float().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32).to(value.dtype)


def array(value: torch.Tensor | None) -> np.ndarray:
    """Return a statistic or parameter of a normalization in float64."""
    assert value is not None  # normalizations without statistics or scale have no hypotheses
    return value.detach().numpy().astype(np.float64)


def _normalized(
    x: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
    weight: np.ndarray,
    bias: np.ndarray,
) -> np.ndarray:
    return (x - mean) / np.sqrt(var + eps) * weight + bias


def _fitted_eps(
    centered: np.ndarray, var: np.ndarray, ours: np.ndarray, weight: np.ndarray
) -> float:
    """Return the eps in ``ours = centered * weight / sqrt(var + eps)``, per channel.

    The median, since channels where little varies say little.
    """
    axes = tuple(range(centered.ndim - 1))
    slope = (centered * ours).sum(axes) / np.square(centered).sum(axes)
    return float(np.median(np.square(weight / slope) - var))
