"""Heads with native kernels: the same function."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks import activations, ops
from tests.helpers.arrays import assert_close
from tests.helpers.folded import M, randomized, run

pytestmark = pytest.mark.usefixtures("xla_forms")

KERNELS = re.compile(r"@flaxblocks_(\w+?)_[0-9a-f]{8}\b")

point = partial(fb.ConvNormAct, kernel_size=1, norm=None, act=None)
HEADS = {
    # Few vectors, more than a thread takes, and so many that weights are packed.
    "classifier": ((2, 5, 3, 24), {}, ["mean", "pointwise"]),
    "one pixel": ((1, 1, 1, 24), {}, ["mean", "pointwise"]),
    "many channels": ((3, 7, 7, 331), {}, ["mean", "pointwise"]),
    "many images": ((70, 2, 2, 331), {}, ["mean", "pointwise"]),
    "features": ((2, 5, 3, 24), {"num_classes": 0}, ["mean"]),
    "convolution": (
        (2, 5, 3, 24), {"conv_features": 40}, ["pointwise", "mean", "pointwise"],
    ),
    "hidden": (
        (2, 5, 3, 24), {"hidden_features": 40, "act": activations.hard_swish},
        ["mean", "pointwise", "pointwise"],
    ),
    "hidden convolution": (
        (2, 5, 3, 24), {"hidden_features": 40, "hidden": point},
        ["mean", "pointwise", "pointwise"],
    ),
    "normalized": ((2, 5, 3, 24), {"norm": fb.LayerNorm}, ["mean", "layer_norm", "pointwise"]),
    "few channels": ((2, 5, 3, 3), {}, ["pointwise"]),
    "few classes": ((2, 5, 3, 24), {"num_classes": 3}, ["mean"]),
}  # fmt: skip


def ready(module: M) -> M:
    return fb.for_inference(randomized(module))


def draw(*shape: int, dtype=jnp.float64) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).standard_normal(shape), dtype)


def called(module: nnx.Module, x: jax.Array) -> list[str]:
    return KERNELS.findall(jax.jit(module).lower(x).as_text())


make = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}


@pytest.mark.parametrize("name", HEADS)
def test_each_head_is_the_same_function(name: str, x64):
    shape, options, kernels = HEADS[name]
    head = ready(
        fb.Head(shape[3], **{"num_classes": 613 if shape[3] > 24 else 31} | options, **make)
    )
    x = draw(*shape)
    truth = run(head, x)
    with ops.convolution("native"):
        assert called(head, x) == kernels
        assert_close(run(head, x), truth)


def test_the_features_before_the_classifier(x64):
    head, x = ready(fb.Head(24, 31, hidden_features=40, **make)), draw(2, 5, 3, 24)
    truth = head(x, pre_logits=True)
    assert truth.shape == (2, 40)
    with ops.convolution("native"):
        assert_close(head(x, pre_logits=True), truth)


class Largest(fb.Head):
    """A head that pools in its own way."""

    def pool(self, x):
        return x.max((1, 2))


def test_other_heads_stay_as_they_are(x64):
    x = draw(2, 5, 3, 24)
    with ops.convolution("native"):
        assert called(ready(Largest(24, 31, **make)), x) == ["pointwise"]
        half = fb.Head(24, 31, dtype=jnp.float32, **make)
        assert called(ready(half), x) == ["mean"]
        bfloat16 = fb.Head(24, 31, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
        assert called(ready(bfloat16), draw(2, 5, 3, 24, dtype=jnp.bfloat16)) == []


def test_an_empty_batch():
    head = ready(fb.Head(24, 31, rngs=nnx.Rngs(0)))
    with ops.convolution("native"):
        assert run(head, jnp.ones((0, 5, 6, 24), jnp.float32)).shape == (0, 31)
