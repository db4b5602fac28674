"""Mistakes that ports make, each planted in the user's network by one assignment."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import flaxblocks as fb
from tests.helpers import user_net


def mapped_kernel(module, change):
    """Let a convolution read its kernel otherwise."""
    convolve = module.conv_general_dilated
    module.conv_general_dilated = lambda x, kernel, *args, **kwargs: convolve(
        x, change(kernel), *args, **kwargs
    )


def same(n: Any):
    n.stem.padding = "SAME"


def padding(n: Any):
    n.down.padding = "VALID"


def batch_eps(n: Any):
    n.norm.epsilon = 1e-3


def layer_eps(n: Any):
    n.layer_norm.epsilon = 1e-6


def group_eps(n: Any):
    n.group_norm.epsilon = 1e-6


def rms_eps(n: Any):
    n.rms_norm.epsilon = 1e-5


def momentum(n: Any):
    n.norm.momentum = 0.1


class Frozen(fb.BatchNorm):
    """A norm that stays in eval mode when the network trains, as a default left alone does."""

    def __call__(self, x):
        return super().__call__(x, use_running_average=True)


def running_in_training(n: Any):
    n.norm = Frozen(8, rngs=nnx.Rngs(0))


def biased_variance(n: Any):
    n.twin_norm = nnx.BatchNorm(8, momentum=0.9, rngs=nnx.Rngs(0))


def everything_of_a_norm(n: Any):
    n.norm = nnx.BatchNorm(8, momentum=0.99, epsilon=1e-3, rngs=nnx.Rngs(0))


def float32(n: Any):
    n.mlp.dtype = jnp.float32


def swish_for_relu(n: Any):
    n.relu = nnx.silu


def groups_of_norm(n: Any):
    n.group_norm.num_groups, n.group_norm.group_size = 2, 4


def dilation(n: Any):
    n.wide.kernel_dilation, n.wide.padding = 1, [(1, 1), (1, 1)]


def stride(n: Any):
    n.stem.strides = 1


def exchanged_window(n: Any):
    mapped_kernel(n.twin, lambda kernel: kernel.swapaxes(0, 1))


def flipped(n: Any):
    mapped_kernel(n.twin, lambda kernel: kernel[::-1, ::-1])


def exchanged_channels(n: Any):
    mapped_kernel(n.twin, lambda kernel: kernel.swapaxes(2, 3))


def not_mirrored(n: Any):
    n.up.mirrored = False


def exchanged_layers(n: Any):
    n.last = "mlp", "project"


def missing_activation(n: Any):
    n.relu = lambda x: x


def act_before_norm(n: Any):
    n.activate = lambda norm, act, x: norm(act(x))


def tanh_gelu(n: Any):
    n.gelu = nnx.gelu


def keras_hard_sigmoid(n: Any):
    n.hard_sigmoid = lambda x: jnp.clip(0.2 * x + 0.5, 0, 1)


def keras_hard_swish(n: Any):
    n.hard_swish = lambda x: x * jnp.clip(0.2 * x + 0.5, 0, 1)


def slope(n: Any):
    n.leaky = lambda x: nnx.leaky_relu(x, 0.3)


def flatten_order(n: Any):
    n.to_rows = lambda x: x.reshape(x.shape[0], -1)


def aligned(x, size):
    """Resize bilinearly with the corners' pixels on each other."""
    for axis, new in enumerate(size, 1):
        at = jnp.arange(new) * (x.shape[axis] - 1) / (new - 1)
        low = jnp.clip(jnp.floor(at).astype(int), 0, x.shape[axis] - 2)
        part = (at - low).reshape((-1, 1, 1) if axis == 1 else (-1, 1))
        x = jnp.take(x, low, axis) * (1 - part) + jnp.take(x, low + 1, axis) * part
    return x


def align_corners(n: Any):
    n.grow = lambda x: aligned(x, (x.shape[1] * 3 // 2, x.shape[2] * 3 // 2))


def nearest(n: Any):
    n.grow = lambda x: user_net.resize(x, (18, 15), method="nearest")


def offsets(n: Any):
    n.pick = lambda x: x[:, ::2, ::2]


def antialiasing(n: Any):
    n.shrink = lambda x: user_net.resize(x, (12, 12), antialias=False)


def zero_padded_maximum(n: Any):
    n.max_pool = lambda x: user_net.max_pool(x, 0)


def average_for_maximum(n: Any):
    n.max_pool = lambda x: nnx.avg_pool(x, (3, 3), (1, 1), "SAME")


def counted_padding(n: Any):
    n.average_pool = lambda x: user_net.average_pool(x, True)


def missing_residual(n: Any):
    n.residual = lambda x, y: y


def missing_layer_scale(n: Any):
    n.layer_scale = lambda x, scale: x


def wrong_layer_scale(n: Any):
    n.layer_scale = lambda x, scale: x * scale * 0.1


def missing_attention_scale(n: Any):
    n.scores = lambda q, k: jnp.einsum("nhtc,nhsc->nhts", q, k)


def wrong_attention_scale(n: Any):
    n.scores = lambda q, k: jnp.einsum("nhtc,nhsc->nhts", q, k) * 6**-0.5


def softmax_axis(n: Any):
    n.axis = -2


def bfloat16(n: Any):
    n.twin.dtype = jnp.bfloat16


def tf32(n: Any):
    def rounded(x, kernel, *args, **kwargs):
        low, weights = (jax.lax.reduce_precision(v, 8, 10) for v in (x, kernel))
        return jax.lax.conv_general_dilated(low, weights, *args, **kwargs)

    n.twin.conv_general_dilated = rounded


def label_order(n: Any):
    n.read = lambda logits: logits[:, jnp.array([1, 0, 2, 3, 4, 6, 5])]


FAULTS: list[tuple[Callable[[Any], None], str, str]] = [
    (same, "stem", "padding: JAX pads as TensorFlow's SAME"),
    (padding, "down", "padding: JAX pads by 0, PyTorch by 1"),
    (batch_eps, "norm", "eps: JAX adds 0.001 to the variance, PyTorch 1e-05"),
    (layer_eps, "layer_norm", "eps: JAX adds 1e-06 to the variance, PyTorch 1e-05"),
    (group_eps, "group_norm", "eps: JAX adds 1e-06 to the variance, PyTorch 1e-05"),
    (rms_eps, "rms_norm", "eps: JAX adds 1e-05 to the variance, PyTorch 1e-06"),
    (momentum, "norm", "momentum: JAX moves its statistics by 0.9 (decay 0.1)"),
    (groups_of_norm, "group_norm", "groups: JAX normalizes in 2 groups, PyTorch in 4"),
    (dilation, "wide", "dilation: JAX takes 1, PyTorch 2"),
    (stride, "stem", "stride: JAX takes 1, PyTorch 2"),
    (running_in_training, "norm", "statistics: JAX normalizes by the running ones in train mode"),
    (biased_variance, "twin_norm", "variance bias: JAX stores the biased variance, PyTorch the"),
    (float32, "mlp", "reduced matmul precision: JAX rounds to float32"),
    (swish_for_relu, "F.relu(", "activation: JAX applies silu, PyTorch relu"),
    (exchanged_window, "twin", "layout: the kernel's height and width are swapped"),
    (flipped, "twin", "layout: the kernel is mirrored"),
    (exchanged_channels, "twin", "layout: the kernel's input and output channels are swapped"),
    (not_mirrored, "up", "layout: the transposed convolution's kernel is not mirrored"),
    (missing_activation, "F.relu(", "missing activation: JAX applies none, PyTorch relu"),
    (act_before_norm, "norm", "order: JAX applies relu before batch_norm"),
    (tanh_gelu, "F.gelu(", "activation: JAX applies gelu by tanh, PyTorch gelu by erf"),
    (keras_hard_sigmoid, "F.hardsigmoid(", "activation: JAX applies hard_sigmoid as Keras's"),
    (keras_hard_swish, "F.hardswish(", "activation: JAX applies hard_swish by Keras's"),
    (slope, "F.leaky_relu(", "activation: JAX applies leaky_relu of slope 0.3, PyTorch leaky"),
    (flatten_order, "head", "flatten order: JAX flattens (h, w, c), PyTorch (c, h, w)"),
    (align_corners, "scale_factor=1.5", "resizing: JAX takes bilinear with aligned corners"),
    (nearest, "scale_factor=1.5", "resizing: JAX takes nearest with half-pixel centers"),
    (offsets, "nearest-exact", "resizing: JAX takes nearest without half-pixel centers"),
    (antialiasing, "antialias=True", "resizing: JAX takes bilinear with half-pixel centers, Py"),
    (zero_padded_maximum, "F.max_pool2d(", "padding: JAX pads with zeros before the maximum"),
    (average_for_maximum, "F.max_pool2d(", "pooling: JAX takes the average, PyTorch the max"),
    (counted_padding, "F.avg_pool2d(", "padding: JAX's average counts the padding"),
    (missing_residual, "x + self.scale", "missing residual: JAX does not add the input"),
    (missing_layer_scale, "x + self.scale", "missing scale: JAX leaves out the layer's scale"),
    (wrong_layer_scale, "x + self.scale", "scale: JAX multiplies by 0.1 beside the layer's scale"),
    (missing_attention_scale, "** -0.5", "missing scale: JAX does not multiply by 0.577"),
    (
        wrong_attention_scale,
        "** -0.5",
        "scale: JAX multiplies by 0.4082, PyTorch by 0.57",
    ),
    (softmax_axis, "softmax(", "axis: JAX's softmax is over axis 2 of 4, PyTorch's over"),
    (bfloat16, "twin", "reduced matmul precision: JAX rounds to bfloat16"),
    (tf32, "twin", "reduced matmul precision: JAX rounds to TF32"),
    (label_order, "head", "label order"),
]
"""What is planted, where it shows, and what is said of it.

Where is a layer, or a part of the line of `user_net.TorchNet` that computes it.
"""
