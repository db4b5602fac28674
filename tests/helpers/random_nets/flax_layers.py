"""The layers of a described network in Flax, each with the mistakes that a port may make in it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import flaxblocks as fb
from tests.helpers.random_nets.description import Step
from tests.helpers.user_faults import Frozen, mapped_kernel


class Unbiased(nnx.Conv):
    """A convolution that does not add its bias."""

    def __call__(self, x):
        assert self.bias is not None
        return super().__call__(x) - self.bias[...]


class Straight(nnx.ConvTranspose):
    """A transposed convolution whose kernel runs the other way."""

    def __call__(self, x):
        kernel = self.kernel[...][::-1, ::-1]
        y = jax.lax.conv_transpose(x, kernel, (2, 2), "VALID", transpose_kernel=True)
        assert self.bias is not None
        return y + self.bias[...]


class Reordered(nnx.Linear):
    """A classifier that gives two labels in each other's place."""

    def __call__(self, x):
        return super().__call__(x)[..., jnp.array([0, 2, 1, 3, 4])]


class Attention(nnx.Module):
    """Self-attention in sums of products."""

    def __init__(self, step: Step, fault: str, rngs: nnx.Rngs):
        width = step.options["features"]
        self.heads, self.fault = step.options["heads"], fault
        self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
        self.project = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x):
        n, t, c = x.shape
        q, k, v = jnp.split(self.qkv(x), 3, -1)
        q, k, v = (y.reshape(n, t, self.heads, c // self.heads) for y in (q, k, v))
        powers = {"no attention scale": 0.0, "wrong attention scale": -0.5}
        base = c if self.fault == "wrong attention scale" else c // self.heads
        factor = base ** powers.get(self.fault, -0.5)
        scores = jnp.einsum("nqhc,nkhc->nhqk", q, k) * factor
        weights = jax.nn.softmax(scores, -2 if self.fault == "softmax axis" else -1)
        return self.project(jnp.einsum("nhqk,nkhc->nqhc", weights, v).reshape(n, t, c))


_KERNELS: dict[str, Callable[[Any], Any]] = {
    "window exchanged": lambda kernel: kernel.swapaxes(0, 1),
    "flipped": lambda kernel: kernel[::-1, ::-1],
    "channels exchanged": lambda kernel: kernel.swapaxes(2, 3),
}
_DTYPES = {"bfloat16": jnp.bfloat16, "float32": jnp.float32}


def conv(step: Step, fault: str, rngs: nnx.Rngs) -> nnx.Module:
    o = step.options
    if not fault and step.variant == 0 and o["kernel"] == o["stride"] == o["groups"] == 1:
        return nnx.Linear(o["inputs"], o["out"], use_bias=o["bias"], rngs=rngs)
    if not fault and step.variant == 1:
        more = {name: o[name] for name in ("stride", "dilation", "groups")}
        return fb.Conv(o["inputs"], o["out"], o["kernel"], use_bias=o["bias"], rngs=rngs, **more)
    dilation = 1 if fault == "dilation" else o["dilation"]
    pixels = dilation * (o["kernel"] - 1) // 2
    layer = (Unbiased if fault == "no bias" else nnx.Conv)(
        o["inputs"],
        o["out"],
        (o["kernel"],) * 2,
        1 if fault == "stride" else o["stride"],
        padding="SAME" if fault == "SAME" else [(pixels, pixels)] * 2,
        kernel_dilation=dilation,
        feature_group_count=o["groups"],
        use_bias=o["bias"],
        dtype=_DTYPES.get(fault),
        rngs=rngs,
    )
    if fault in _KERNELS:
        mapped_kernel(layer, _KERNELS[fault])
    if fault == "TF32":
        layer.conv_general_dilated = _in_tf32
    return layer


def _in_tf32(x: Any, kernel: Any, *args: Any, **kwargs: Any) -> Any:
    low, weights = (jax.lax.reduce_precision(v, 8, 10) for v in (x, kernel))
    return jax.lax.conv_general_dilated(low, weights, *args, **kwargs)


def up(step: Step, fault: str, rngs: nnx.Rngs) -> nnx.Module:
    kind = Straight if fault == "not mirrored" else nnx.ConvTranspose
    o = step.options
    return kind(
        o["inputs"], o["out"], (2, 2), (2, 2), padding="VALID", transpose_kernel=True, rngs=rngs
    )


def batch_norm(step: Step, fault: str, rngs: nnx.Rngs) -> nnx.Module:
    features = step.options["features"]
    if fault == "biased variance":
        return nnx.BatchNorm(features, momentum=0.9, epsilon=1e-5, rngs=rngs)
    if fault == "running in training":
        return Frozen(features, rngs=rngs)
    eps = 1e-3 if fault == "eps" else 1e-5
    momentum = 0.99 if fault == "momentum" else 0.9
    return fb.BatchNorm(features, epsilon=eps, momentum=momentum, rngs=rngs)


def group_norm(step: Step, fault: str, rngs: nnx.Rngs) -> nnx.Module:
    o = step.options
    groups = o["groups"]
    if fault == "groups":
        groups = next(n for n in (2, 1) if n != groups)
    eps = 1e-6 if fault == "eps" else 1e-5
    return nnx.GroupNorm(o["features"], groups, epsilon=eps, rngs=rngs)


def layer_norm(step: Step, fault: str, rngs: nnx.Rngs) -> nnx.Module:
    eps = 1e-3 if fault == "eps" else step.options["eps"]
    return nnx.LayerNorm(step.options["features"], epsilon=eps, rngs=rngs)


def rms_norm(step: Step, fault: str, rngs: nnx.Rngs) -> nnx.Module:
    eps = 1e-3 if fault == "eps" else step.options["eps"]
    return nnx.RMSNorm(step.options["features"], epsilon=eps, rngs=rngs)


def linear(step: Step, fault: str, rngs: nnx.Rngs) -> nnx.Module:
    kind = Reordered if fault == "label order" else nnx.Linear
    o = step.options
    return kind(o["inputs"], o["out"], dtype=_DTYPES.get(fault), rngs=rngs)


def dropout(step: Step, fault: str, rngs: nnx.Rngs) -> nnx.Module:
    return nnx.Dropout(0.8 if fault == "rate" else step.options["rate"], rngs=rngs)


LAYERS: dict[str, Callable[[Step, str, nnx.Rngs], nnx.Module]] = {
    "conv": conv,
    "up": up,
    "batch_norm": batch_norm,
    "group_norm": group_norm,
    "layer_norm": layer_norm,
    "token_norm": layer_norm,
    "rms_norm": rms_norm,
    "linear": linear,
    "head": linear,
    "attention": Attention,
    "dropout": dropout,
}
