"""Inverted residuals as one native kernel: the same function, wherever it is called and is not."""

import re
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import flaxblocks as fb
from flaxblocks import activations, ops
from flaxblocks.ops.native.targets import ACTIVATIONS
from tests.folded import gate, randomised, run
from tests.test_conv_door_transforms import assert_close

CALL = re.compile(r"@flaxblocks_inverted_residual_[0-9a-f]{8}\b")


def folded(*args, dtype=jnp.float64, seed: int = 0, **kwargs) -> fb.MBConv:
    """Return a block for inference, of random weights."""
    block = fb.MBConv(*args, **kwargs, param_dtype=dtype, rngs=nnx.Rngs(seed))
    return fb.fold_batchnorm(randomised(block, seed))


def image(block: fb.MBConv, n: int, *size: int, seed: int = 1, dtype=jnp.float64) -> jax.Array:
    units = [unit for unit in (block.expand, block.depthwise) if unit is not None]
    shape = (n, *size, units[0].conv.in_features)
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def is_called(function: Callable, *args) -> bool:
    return bool(CALL.search(jax.jit(function).lower(*args).as_text()))


def check(block: fb.MBConv, x: jax.Array) -> None:
    truth = run(block, x)
    with ops.native_convolution():
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


@pytest.mark.parametrize("seed", range(6))
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
    theirs = np.abs(run(block, x) - truth).max()
    with ops.native_convolution():
        ours = np.abs(run(block, x) - truth).max()
    assert ours <= max(2 * theirs, np.spacing(np.float32(np.abs(truth).max())) / 2)


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
    with ops.native_convolution():
        np.testing.assert_array_equal(run(block, x), truth)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_comes_out_where_it_does(value: float):
    block = folded(16, 16, 2, act=activations.relu6, dtype=jnp.float32)
    x = image(block, 2, 9, 9, dtype=jnp.float32).at[0, 4, 4, 3].set(value)
    truth = run(block, x)
    with ops.native_convolution():
        ours = run(block, x)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(truth))
    np.testing.assert_array_equal(np.isinf(ours), np.isinf(truth))


@pytest.fixture
def block(x64) -> fb.MBConv:
    return folded(16, 16, 2, act=activations.silu, final_act=None, se=gate(4, activations.silu))


def test_derivatives_of_every_order(block: fb.MBConv):
    graphdef, state = nnx.split(block)
    x = image(block, 2, 5, 6)

    def loss(state: nnx.State, x: jax.Array) -> jax.Array:
        return jnp.sin(nnx.merge(graphdef, state)(x)).sum()

    def everything(state: nnx.State, x: jax.Array) -> tuple:
        gradients = jax.grad(loss, (0, 1))(state, x)
        tangent = jax.jvp(lambda x: loss(state, x), (x,), (jnp.cos(x),))
        curvature = jax.jvp(jax.grad(loss, 1), (state, x), gradients)
        return gradients, tangent, curvature

    truth = jax.jit(everything)(state, x)
    with ops.native_convolution():
        ours = jax.jit(everything)(state, x)
        assert is_called(loss, state, x)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(truth), strict=True):
        assert_close(a, b, 1e-11)


def test_transformations_hold(block: fb.MBConv):
    x = image(block, 3, 5, 6)
    truth = run(block, x)
    with ops.native_convolution():
        assert_close(block(x), truth)
        assert_close(jax.vmap(block)(x[:, None])[:, 0], truth)
        assert_close(jax.checkpoint(block)(x), truth)
        _, ys = jax.lax.scan(lambda carry, x: (carry, block(x[None])[0]), None, x)
        assert_close(ys, truth)
        assert_close(ops.in_chunks(block, x, cache=1), truth)


def test_several_devices_and_exported_programs_do_without(block: fb.MBConv):
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    x = image(block, 8, 5, 6)
    truth = run(block, x)
    split = jax.device_put(x, NamedSharding(mesh, P("batch")))
    with ops.native_convolution():
        function = jax.jit(block)
        assert not CALL.search(function.lower(split).as_text())
        assert function(split).sharding == split.sharding
        assert_close(function(split), truth)
        mapped = jax.shard_map(block, mesh=mesh, in_specs=P("batch"), out_specs=P("batch"))
        assert_close(jax.jit(mapped)(split), truth)
        exported = export.export(jax.jit(block), platforms=("cpu", "cuda", "tpu"))(x)
        assert not CALL.search(exported.mlir_module())
        assert_close(exported.call(x), truth)
        (n,) = export.symbolic_shape("n")
        shape = jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype)
        assert_close(export.export(jax.jit(block))(shape).call(x), truth)


def test_an_eager_call_is_compiled_once(block: fb.MBConv, caplog):
    x = image(block, 2, 5, 6)
    with ops.native_convolution(), jax.log_compiles():
        block(x)
        assert "Compiling" in caplog.text
        caplog.clear()
        block(x)
        assert "Compiling" not in caplog.text


class Scaled(fb.Conv):
    """A convolution that somebody changed."""

    def __call__(self, x):
        return 2 * super().__call__(x)


def with_layer_of_their_own(make: Callable) -> fb.MBConv:
    block = folded(16, 16, 2)
    block.project.conv = make(32, 16, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    return block


def unfolded() -> fb.MBConv:
    return fb.MBConv(16, 16, param_dtype=jnp.float64, rngs=nnx.Rngs(0))


def in_training() -> fb.MBConv:
    block = fb.MBConv(16, 16, norm=None, drop_path=0.5, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    block.train()
    return block


OTHERS = {
    "normalisations": unfolded,
    "train mode": in_training,
    "an activation of their own": partial(folded, 16, 16, act=lambda x: x * activations.sigmoid(x)),
    "another gate": partial(folded, 16, 16, se=lambda features, **_: lambda x: x / features),
    "few outputs": partial(folded, 8, 7),
    "few hidden channels": partial(folded, 3, 16, 2),
    "groups of several channels": partial(folded, 16, 16, group_size=8),
    "half precision": partial(folded, 32, 32, dtype=jnp.bfloat16),
    "another dtype of the computation": lambda: fb.MBConv(
        16, 16, norm=None, dtype=jnp.float32, param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    ),
    "a layer of their own": partial(with_layer_of_their_own, partial(Scaled, kernel_size=1)),
    "a wider projection": partial(with_layer_of_their_own, partial(fb.Conv, kernel_size=3)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_it_is_not_for_stays_as_it_is(name: str, x64):
    block = OTHERS[name]()
    x = image(block, 2, 5, 6, dtype=block.depthwise.conv.kernel.dtype)
    with ops.native_convolution():
        assert not is_called(nnx.jit(lambda block, x: block(x)), block, x)
        y = run(block, x) if name != "train mode" else None
    if y is not None:
        assert_close(y, run(block, x), 1e-2 if name == "half precision" else 1e-6)


def test_a_wrong_image_is_refused_in_the_same_words(block: fb.MBConv):
    with ops.native_convolution(), pytest.raises(ValueError, match="`x` must have shape"):
        block(jnp.ones((2, 5, 6, 15)))


def test_the_switches_are_followed(block: fb.MBConv):
    x = image(block, 1, 5, 6)
    assert not is_called(block, x)
    with ops.native_convolution(), ops.plain_convolution():
        assert not is_called(block, x)


def test_an_empty_batch(block: fb.MBConv):
    with ops.native_convolution():
        assert block(jnp.ones((0, 5, 6, 16))).shape == (0, 5, 6, 16)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mnasnet1_0"])
def test_networks_give_the_same(name: str):
    network = fb.create_model(name, rngs=nnx.Rngs(0))
    network = fb.fold_batchnorm(randomised(network))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 65, 64, 3)), jnp.float32)
    truth = run(network, x)
    with ops.native_convolution():
        text = nnx.jit(lambda m, x: m(x)).lower(network, x).as_text()
        assert len(CALL.findall(text)) == sum(
            isinstance(m, fb.MBConv) for _, m in nnx.iter_modules(network)
        )
        assert_close(run(network, x), truth, 1e-4)
