"""The blocks under JAX's and NNX's transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

import flaxblocks as fb
from parity.checks import measure
from tests.helpers.tolerance import bound
from tests.helpers.twins import BY_NAME, assert_same, image
from tests.helpers.typed import instance

pytestmark = pytest.mark.usefixtures("quick")

CASE = BY_NAME["MBConv/efficientnet"]
SHAPE = (2, 5, 6, 8)


def block(**arguments) -> fb.MBConv:
    return instance(CASE.build_flax(**({"param_dtype": jnp.float64} | arguments)), fb.MBConv)


def assert_same_state(ours: nnx.Module, theirs: nnx.Module) -> None:
    """Fail unless parameters and statistics are equal, counters exactly."""
    expected = fb.state_dict(theirs)
    for name, value in fb.state_dict(ours).items():
        if value.dtype == np.int64:
            assert value == expected[name]
        else:
            assert_same(value, expected[name], "statistic")


def loss_of(module: nnx.Module, x: jax.Array) -> jax.Array:
    return (module(x) ** 2).mean()


def test_nnx_jit_updates_the_module_as_an_eager_call_does(x64):
    eager, jitted = block(), block()
    x = jnp.asarray(image(SHAPE))
    assert_same(nnx.jit(lambda module, x: module(x))(jitted, x), eager(x))
    assert_same_state(jitted, eager)
    assert int(instance(jitted.project.norm, fb.BatchNorm).num_batches_tracked[...]) == 1


def test_jax_jit_over_split_and_merge(x64):
    eager = block()
    graphdef, state = nnx.split(eager)
    x = jnp.asarray(image(SHAPE))

    @jax.jit
    def step(state, x):
        module = nnx.merge(graphdef, state)
        return module(x), nnx.state(module)

    y, state = step(state, x)
    assert_same(y, eager(x))
    assert_same_state(nnx.merge(graphdef, state), eager)


def test_a_module_is_compiled_once(x64):
    traces = []

    @nnx.jit
    def call(module, x):
        traces.append(x.shape)
        return module(x)

    module, x = block(), jnp.asarray(image(SHAPE))
    for _ in range(3):
        call(module, x)
    assert len(traces) == 1


def test_jax_grad_equals_nnx_grad_and_a_finite_difference(x64):
    module, x = block(), jnp.asarray(image(SHAPE))
    module.eval()
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)

    def pure(params, x):
        return loss_of(nnx.merge(graphdef, params, rest), x)

    gradients = jax.jit(jax.grad(pure))(params, x)
    for ours, theirs in zip(
        jax.tree.leaves(gradients),
        jax.tree.leaves(nnx.jit(nnx.grad(loss_of))(module, x)),
        strict=True,
    ):
        assert_same(ours, theirs, "gradient")
    check_grads(jax.jit(lambda x: pure(params, x)), (x,), order=1, modes=("rev",))


def test_jax_vmap_over_models(x64):
    """Three models at once, each on its own batch, each with its own statistics."""
    models = [block(seed=seed) for seed in range(3)]
    graphdef = nnx.graphdef(models[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(nnx.state(m) for m in models))
    x = image((3, *SHAPE))

    def step(state, x):
        module = nnx.merge(graphdef, state)
        return module(x), nnx.state(module)

    y, stacked = jax.jit(jax.vmap(step))(stacked, jnp.asarray(x))

    for i, model in enumerate(models):
        assert_same(y[i], model(jnp.asarray(x[i])))
        ours = nnx.merge(graphdef, jax.tree.map(lambda leaf, i=i: leaf[i], stacked))
        assert_same_state(ours, model)


def test_jax_checkpoint_recomputes_the_same_gradients(x64):
    graphdef, params, rest = nnx.split(block(), nnx.Param, ...)
    x = jnp.asarray(image(SHAPE))

    def loss(params, x):
        return loss_of(nnx.merge(graphdef, params, rest, copy=True), x)

    plain, recomputed = (
        jax.jit(jax.grad(f, (0, 1)))(params, x) for f in (loss, jax.checkpoint(loss))
    )
    for ours, theirs in zip(jax.tree.leaves(recomputed), jax.tree.leaves(plain), strict=True):
        assert_same(ours, theirs, "gradient")


def test_jax_scan_over_layers_of_the_same_shape(x64):
    layers = [block(seed=seed) for seed in range(3)]
    graphdef = nnx.graphdef(layers[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(nnx.state(m) for m in layers))

    def apply(x, state):
        module = nnx.merge(graphdef, state)
        return module(x), nnx.state(module, nnx.BatchStat)

    x = jnp.asarray(image(SHAPE))
    y, statistics = jax.jit(lambda x, stacked: jax.lax.scan(apply, x, stacked))(x, stacked)

    for layer in layers:
        x = layer(x)
    assert_same(y, x)
    norm = instance(layers[2].project.norm, fb.BatchNorm)
    assert_same(statistics["project"]["norm"]["var"][2], norm.var[...])


def test_eval_shape_makes_and_calls_a_block_without_computing():
    module = instance(nnx.eval_shape(CASE.build_flax), fb.MBConv)
    y = nnx.eval_shape(lambda m, x: m(x), module, jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    assert (y.shape, y.dtype) == (SHAPE, jnp.float32)
    conv = instance(module.project.conv, fb.Conv)
    assert isinstance(conv.kernel.get_value(), jax.ShapeDtypeStruct)


@pytest.mark.parametrize(
    "name",
    [
        "MBConv/efficientnet",
        pytest.param("BottleNeck/se", marks=pytest.mark.slow),
        pytest.param("FusedMBConv", marks=pytest.mark.slow),
    ],
)
def test_bfloat16_computes_what_float32_does_within_its_rounding(name: str):
    case = BY_NAME[name]
    narrow, wide = case.build_flax(dtype=jnp.bfloat16), case.build_flax()
    x = jnp.asarray(image(case.shape), jnp.float32)

    @nnx.jit
    def value_and_gradient(module, x):
        return nnx.value_and_grad(loss_of)(module, x)

    (ours, gradient), (truth, exact) = (value_and_gradient(m, x) for m in (narrow, wide))

    limit = bound("bfloat16", "output")
    assert measure.scaled_error(np.asarray(ours), np.asarray(truth)) <= limit
    leaves = zip(jax.tree.leaves(gradient), jax.tree.leaves(exact), strict=True)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(exact))
    for value, expected in leaves:
        assert value.dtype == jnp.float32  # as the parameter
        assert measure.rms_error(np.asarray(value), np.asarray(expected), scale) <= limit


def test_strict_promotion_is_enough():
    """No step of a block relies on JAX to find a dtype in which two arrays meet."""
    with jax.numpy_dtype_promotion("strict"):
        module = CASE.build_flax(dtype=jnp.bfloat16)
        x = jnp.asarray(image(SHAPE), jnp.bfloat16)
        assert nnx.jit(lambda module, x: module(x))(module, x).dtype == jnp.bfloat16
