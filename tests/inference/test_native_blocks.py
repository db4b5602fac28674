"""Inverted residuals as one native kernel: the same function."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks import activations, ops
from flaxblocks.ops.native.targets import ACTIVATIONS
from parity.checks.measure import rms_error
from tests.helpers.arrays import assert_close
from tests.helpers.folded import CALL, folded, gate, image, is_called, randomized, run

pytestmark = pytest.mark.usefixtures("xla_forms")


def check(block: fb.MBConv, x: jax.Array) -> None:
    truth = run(block, x)
    with ops.convolution("native"):
        assert is_called(block, x)
        assert_close(run(block, x), truth)


BLOCKS = {
    "the tutorial's": (partial(folded, 32, 64), (2, 9, 13)),
    "MobileNetV2's": (partial(folded, 16, 16, 6, use_bias=False, final_act=None), (3, 14, 28)),
    "EfficientNet's": (
        partial(
            folded, 24, 24, 6, kernel_size=5, use_bias=False, act=activations.silu,
            final_act=None, se=gate(6, activations.silu), drop_path=0.2,
        ),
        (5, 7, 15),
    ),
    "MobileNetV3's": (
        partial(
            folded, 24, 40, 3, kernel_size=5, stride=2, act=activations.hard_swish, final_act=None,
            se=gate(18, function=activations.hard_sigmoid),
        ),
        (4, 11, 16),
    ),
    "the first of EfficientNet": (
        partial(folded, 32, 16, 1, act=activations.silu, final_act=None, se=gate(8)),
        (2, 12, 9),
    ),
    "TensorFlow's padding": (partial(folded, 8, 24, 3, stride=2, padding="SAME"), (1, 8, 13)),
    "no padding": (partial(folded, 8, 24, 3, padding="VALID"), (1, 8, 5)),
    "dilated": (partial(folded, 16, 16, 2, kernel_size=5, dilation=2, se=gate(3)), (2, 6, 17)),
    "rectangular": (partial(folded, 12, 17, 3, kernel_size=(3, 7), stride=(2, 1)), (2, 9, 10)),
    "an even kernel": (partial(folded, 12, 20, 3, kernel_size=4, padding=1), (2, 9, 10)),
    "a stride beyond the kernel": (partial(folded, 12, 20, 3, kernel_size=2, stride=3), (2, 9, 10)),
    "padding beyond the kernel": (partial(folded, 8, 16, 4, padding=5, se=gate(4)), (2, 3, 4)),
    "one pixel": (partial(folded, 8, 8, 3, se=gate(2)), (9, 1, 1)),
    "wide": (partial(folded, 112, 129, 6, kernel_size=5, se=gate(28)), (1, 5, 6)),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_each_block_is_the_same_function(name: str, x64):
    make, shape = BLOCKS[name]
    block = make()
    check(block, image(block, *shape))


@pytest.mark.parametrize("act", ACTIVATIONS, ids=lambda a: getattr(a, "__name__", "none"))
def test_each_activation_is_the_same_function(act, x64):
    """Far out, too, where the exponential would leave its range."""
    block = folded(
        8,
        8,
        2,
        act=act,
        final_act=act,
        se=gate(4, act or activations.relu, act or activations.sigmoid),
    )
    x = image(block, 2, 5, 6) * 10.0 ** jnp.arange(-3, 5).astype(jnp.float64)
    check(block, x)


def random_block(rng: np.random.Generator) -> tuple[fb.MBConv, jax.Array]:
    inputs, outputs, hidden = (int(rng.integers(low, 130)) for low in (1, 8, 8))
    act, final, squeeze, sigmoid = (ACTIVATIONS[i] for i in rng.integers(1, 7, 4))
    gated, stride = rng.random() < 0.5, tuple(map(int, rng.integers(1, 4, 2)))
    if rng.random() < 0.5:
        stride, outputs = (1, 1), max(inputs, 8)
    kernel = tuple(map(int, rng.choice([1, 3, 5, 7], 2)))
    dilation = tuple(map(int, rng.integers(1, 3, 2)))
    block = folded(
        inputs, outputs, hidden_features=hidden, kernel_size=kernel, stride=stride,
        dilation=dilation, act=act, final_act=final,
        se=gate(int(rng.integers(1, 20)), squeeze, sigmoid) if gated else None,
        seed=int(rng.integers(1000)),
    )  # fmt: skip
    return block, image(block, int(rng.integers(1, 10)), *map(int, rng.integers(1, 20, 2)))


@pytest.mark.parametrize("seed", range(3))
def test_random_blocks_are_the_same_function(seed: int, x64):
    check(*random_block(np.random.default_rng(seed)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_hundreds_of_random_blocks_are_the_same_function(seed: int, x64):
    rng = np.random.default_rng(1000 * seed)
    for _ in range(100):
        check(*random_block(rng))
    jax.clear_caches()


@pytest.mark.parametrize("name", ["the tutorial's", "EfficientNet's", "MobileNetV3's"])
def test_float32_is_as_close_to_the_truth(name: str, x64):
    make, shape = BLOCKS[name]
    exact = make()
    block = jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, exact)
    exact = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, block)
    x = image(exact, *shape, dtype=jnp.float32)
    truth = run(exact, x.astype(jnp.float64))
    theirs = rms_error(run(block, x), truth)
    with ops.convolution("native"):
        ours = rms_error(run(block, x), truth)
    # The largest error of either is chance, by the order of its sums.
    scale = np.abs(truth).max()
    assert ours <= max(2 * theirs, float(np.spacing(np.float32(scale)) / scale) / 2)


def test_exact_arithmetic_gives_the_same_bits():
    """Nothing rounds: small integers over 4, and ReLU alone."""
    block = fb.MBConv(16, 16, 2, kernel_size=5, norm=None, act=activations.relu, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)

    def draw(a: jax.Array) -> jax.Array:
        return jnp.asarray(rng.integers(-2, 3, a.shape) / 4, a.dtype)

    nnx.update(block, jax.tree.map(draw, nnx.state(block)))
    x = jnp.asarray(rng.integers(-8, 9, (2, 9, 11, 16)) / 4, jnp.float32)
    truth = run(block, x)
    assert len(np.unique(truth)) > 100
    with ops.convolution("native"):
        np.testing.assert_array_equal(run(block, x), truth)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_comes_out_where_it_does(value: float):
    block = folded(16, 16, 2, act=activations.relu6, dtype=jnp.float32)
    x = image(block, 2, 9, 9, dtype=jnp.float32).at[0, 4, 4, 3].set(value)
    truth = run(block, x)
    with ops.convolution("native"):
        ours = run(block, x)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(truth))
    np.testing.assert_array_equal(np.isinf(ours), np.isinf(truth))


@pytest.mark.parametrize(
    "name",
    [
        "timm/test_efficientnet",
        pytest.param("mobilenet_v3_small", marks=pytest.mark.slow),
        pytest.param("mnasnet1_0", marks=pytest.mark.slow),
    ],
)
def test_networks_give_the_same(name: str):
    network = fb.create_model(name, rngs=nnx.Rngs(0))
    network = fb.for_inference(randomized(network))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 65, 64, 3)), jnp.float32)
    truth = run(network, x)
    with ops.convolution("native"):
        text = nnx.jit(lambda m, x: m(x)).lower(network, x).as_text()
        assert len(CALL.findall(text)) == sum(
            isinstance(m, fb.MBConv) for _, m in nnx.iter_modules(network)
        )
        assert_close(run(network, x), truth, 1e-4)
