"""Native convolutions that take bias, activation and residual with them: the same function."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks import activations, ops
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.ops.native.targets import ACTIVATIONS
from tests.helpers.arrays import assert_close
from tests.helpers.folded import M, gate, randomized, run
from tests.helpers.typed import instance, present

pytestmark = pytest.mark.usefixtures("xla_forms")

KERNELS = re.compile(r"@flaxblocks_(\w+?)_[0-9a-f]{8}\b")
# From 87.3 to 88.7 the sigmoid is below the normal numbers; there JAX's is 0, the kernel's not.
FAR = [0, 1e-3, 1, 3, 6, 20, 87, 90, 104, 1e4, 1e30, 3e38, np.inf, np.nan]


def ready(kind: Callable[..., M], *args, **kwargs) -> M:
    made = kind(*args, **kwargs, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    return fb.for_inference(randomized(made))


unit, bottleneck = partial(ready, fb.ConvNormAct), partial(ready, fb.BottleNeck)
basic, universal = partial(ready, fb.BasicBlock), partial(ready, UniversalInvertedBottleneck)

SUMS = {
    # A row of cells and a rest; weights that stay in the cache and such that do not, and such that
    # are laid side by side, for which each thread must have a hundred pixels.
    "pointwise": (partial(unit, 24, 40, 1), (2, 9, 5, 24), ["pointwise"]),
    "wide pointwise": (partial(unit, 300, 129, 1), (1, 23, 21, 300), ["pointwise"]),
    "widest pointwise": (partial(unit, 1030, 129, 1), (1, 80, 40, 1030), ["pointwise"]),
    "strided pointwise": (partial(unit, 24, 40, 1, stride=2), (2, 9, 5, 24), ["dense"]),
    "one pixel": (partial(unit, 8, 16, 1, act=activations.silu), (1, 1, 1, 8), ["pointwise"]),
    "depthwise": (partial(unit, 20, 20, 5, groups=20, stride=2), (2, 9, 8, 20), ["narrow"]),
    "grouped": (partial(unit, 32, 32, 3, groups=8), (2, 9, 8, 32), ["narrow"]),
    "dense": (partial(unit, 12, 48, 3, act=activations.hard_swish), (2, 9, 8, 12), ["dense"]),
    "bottleneck": (
        partial(bottleneck, 64, 64, 2), (2, 9, 8, 64), ["pointwise", "dense", "pointwise"],
    ),
    # In the last product the rows of weights are so far apart that they are packed, and there are
    # more pixels than are done at once.
    "wide bottleneck": (
        partial(bottleneck, 256, 256, 2), (8, 9, 8, 256), ["pointwise", "dense", "pointwise"],
    ),
    "grouped bottleneck": (
        partial(bottleneck, 64, 128, 4, groups=4, stride=2, use_bias=False),
        (2, 9, 8, 64),
        ["pointwise", "narrow", "dense", "pointwise"],
    ),
    "gated bottleneck": (
        partial(bottleneck, 64, 64, 2, se=gate(8)),
        (2, 9, 8, 64),
        ["pointwise", "dense", "pointwise", "squeeze_excite"],
    ),
    "basic": (partial(basic, 32, 32), (2, 9, 8, 32), ["dense", "dense"]),
    "basic of stride 2": (partial(basic, 32, 64, stride=2), (2, 9, 8, 32), ["dense"] * 3),
    "pooled shortcut": (
        partial(bottleneck, 32, 64, 4, stride=2, shortcut=PooledProjection),
        (2, 9, 8, 32),
        ["pointwise", "dense", "pointwise", "pointwise"],
    ),
    "inverted": (
        partial(ready, fb.InvertedResidual, 16, 16, 2),
        (2, 9, 8, 16),
        ["pointwise", "dense", "pointwise"],
    ),
    "fused": (partial(ready, fb.FusedMBConv, 16, 16), (2, 9, 8, 16), ["dense", "pointwise"]),
    "gated fused": (
        partial(ready, fb.FusedMBConv, 16, 16, se=gate(4)),
        (2, 9, 8, 16),
        ["dense", "squeeze_excite", "pointwise"],
    ),
    "ConvNeXt": (
        partial(ready, fb.ConvNeXtBlock, 24), (2, 9, 8, 24),
        ["narrow", "layer_norm", "pointwise", "pointwise"],
    ),
    "ConvNeXt with convolutions": (
        partial(ready, fb.ConvNeXtBlock, 24, norm=fb.BatchNorm, act=activations.silu,
                pointwise=partial(fb.Conv, kernel_size=1)),
        (2, 9, 8, 24),
        ["narrow", "pointwise", "pointwise"],
    ),
    "scaled universal": (
        partial(universal, 16, 16, layer_scale=0.1), (2, 9, 8, 16), ["inverted_residual"],
    ),
    "universal": (partial(universal, 16, 16), (2, 9, 8, 16), ["inverted_residual"]),
    "universal with a start": (
        partial(universal, 16, 16, start_kernel_size=5),
        (2, 9, 8, 16),
        ["narrow", "inverted_residual"],
    ),
    "universal of stride 2": (
        partial(universal, 16, 24, start_kernel_size=3, stride=2),
        (2, 9, 8, 16),
        ["narrow", "inverted_residual"],
    ),
    "universal without depthwise": (
        partial(universal, 16, 16, kernel_size=None), (2, 9, 8, 16), ["pointwise", "pointwise"],
    ),
}  # fmt: skip


# The gate comes between the last convolution and the sum; or the branch is longer than the kernel.
APART = ("gated bottleneck", "universal with a start", "pooled shortcut")


@pytest.mark.parametrize("name", SUMS)
def test_convolutions_take_what_follows_with_them(name: str, x64):
    """Bias, activation and, in a block's last one, the other branch."""
    make, shape, kernels = SUMS[name]
    module = make()
    x = jnp.asarray(np.random.default_rng(1).standard_normal(shape))
    truth = run(module, x)
    with ops.convolution("native"):
        text = jax.jit(module).lower(x).as_text()
        assert KERNELS.findall(text) == kernels
        assert ("stablehlo.add" in text) == (name in APART)
        assert_close(run(module, x), truth)


def test_branches_of_different_shape_are_refused(x64):
    block: Any = bottleneck(64, 64, 2)
    block.shortcut = lambda x: x[:, :1]
    with ops.convolution("native"), pytest.raises(ValueError, match="returned shape"):
        block(jnp.ones((2, 9, 8, 64)))


@pytest.mark.parametrize("act", ACTIVATIONS[1:], ids=lambda act: act.__name__)
def test_each_activation_in_float32_has_jaxs_values(act):
    """To the ends of the numbers: the kernels have an exponential of their own."""
    one = fb.ConvNormAct(16, 16, 1, groups=16, norm=None, act=act, rngs=nnx.Rngs(0))
    conv = instance(one.conv, fb.Conv)
    conv.kernel.set_value(jnp.ones((1, 1, 1, 16)))
    present(conv.bias).set_value(jnp.zeros(16))
    values = np.asarray([*FAR, *(-value for value in FAR)], np.float32)
    with ops.convolution("native"):
        y = run(one, jnp.asarray(np.tile(values[None, None, :, None], 16)))
    truth = np.tile(np.asarray(act(jnp.asarray(values)))[:, None], 16)
    np.testing.assert_allclose(y[0, 0], truth, rtol=1e-6, atol=float(np.finfo(np.float32).tiny))
