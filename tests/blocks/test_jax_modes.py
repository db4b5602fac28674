"""Every layer and block works in JAX's debugging and strict modes, and with explicit sharding."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import flaxblocks as fb
from tests.helpers.every_module import MODULES, SHAPE, classes, made
from tests.helpers.twins import image

pytestmark = pytest.mark.usefixtures("quick")

every_module = pytest.mark.parametrize("name", MODULES)
# A norm's own derivative, a convolution's, statistics, random numbers, a gate. The check takes a
# second for each.
LEAKY = ("Conv depthwise", "BatchNorm", "StochasticDepth", "MBConv", "Stem")


def step(module: nnx.Module, x: jax.Array) -> tuple:
    """Return a loss, its gradients and the output in eval mode afterwards."""

    def loss_of(module: nnx.Module, x: jax.Array) -> jax.Array:
        return jnp.square(module(x)).mean()

    module.train()
    loss, gradients = nnx.value_and_grad(loss_of, argnums=(nnx.DiffState(0, nnx.Param), 1))(
        module, x
    )
    module.eval()
    return loss, gradients, module(x)


def traced(name: str, dtype: type = jnp.float32) -> jax.ShapeDtypeStruct:
    """Return the output of a module after a step, the module and its copy for inference alike."""
    module = nnx.eval_shape(partial(made, name, dtype))
    x = jax.ShapeDtypeStruct(SHAPE, dtype)
    _, _, y = nnx.eval_shape(step, module, x)
    module.eval()
    fast = nnx.eval_shape(fb.for_inference, module)
    assert nnx.eval_shape(lambda module, x: module(x), fast, x) == y
    return y


def test_every_layer_and_block_is_here():
    modules = [nnx.eval_shape(partial(made, name)) for name in MODULES]
    there = {type(part) for module in modules for _, part in nnx.iter_modules(module)}
    assert not set(classes()) - there


@pytest.mark.parametrize(
    ("x64", "dtype"),
    [(False, jnp.float32), (True, jnp.float32), (False, jnp.bfloat16)],
    ids=["float32", "x64", "bfloat16"],
)
@every_module
def test_traces_without_implicit_promotion(name: str, x64: bool, dtype: type):
    strict = jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict")
    with jax.enable_x64(x64), strict[0], strict[1]:
        assert traced(name, dtype).dtype == dtype


@pytest.mark.parametrize(
    "name",
    [name if name in LEAKY else pytest.param(name, marks=pytest.mark.slow) for name in MODULES],
)
def test_leaks_no_tracer(name: str):
    with jax.checking_leaks():
        traced(name)


def sharded_over_the_batch() -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(
        SHAPE,
        jnp.float32,
        sharding=NamedSharding(jax.sharding.get_abstract_mesh(), PartitionSpec("data")),
    )


@every_module
def test_traces_with_explicit_sharding(name: str):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        module = nnx.eval_shape(partial(made, name))
        _, gradients, y = nnx.eval_shape(step, module, sharded_over_the_batch())
    assert jax.typeof(y).sharding.spec[0] == "data"
    for leaf in jax.tree.leaves(gradients[0]):
        assert not any(leaf.sharding.spec)


@every_module
def test_runs_operation_by_operation_without_a_nan_on_the_way(name: str):
    module, x = made(name), jnp.asarray(image(SHAPE), jnp.float32)
    is_block = any(isinstance(part, nnx.Module) for part in vars(module).values())
    with jax.disable_jit(), jax.debug_nans(True):
        # The gradient of a block is made of its layers', each of which takes seconds here.
        results = (module(x), module.eval() or module(x)) if is_block else step(module, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))
