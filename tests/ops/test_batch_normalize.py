"""The derivative of batch normalization that is written out, against JAX's own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from flaxblocks.ops.batch_normalize import batch_normalize
from tests.helpers.twins import assert_same, image
from tests.helpers.typed import present

EPSILON = 1e-3


def arguments() -> tuple[jax.Array, jax.Array, jax.Array]:
    rng = np.random.default_rng(2)
    x = image((8, 3, 2, 5)) + np.arange(8).reshape(8, 1, 1, 1)
    scale, bias = (jnp.asarray(rng.uniform(0.5, 2, (1, 1, 1, 5))) for _ in range(2))
    return jnp.asarray(x), scale, bias


def identity(y: jax.Array) -> jax.Array:
    return y


def as_defined(x: jax.Array, scale: jax.Array, bias: jax.Array, finish=identity) -> tuple:
    mean = x.mean((0, 1, 2), keepdims=True)
    var = jnp.square(x - mean).mean((0, 1, 2), keepdims=True)
    return finish((x - mean) / jnp.sqrt(var + EPSILON) * scale + bias), mean, var


def ours(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    axis_name: str | None = None,
    finish=identity,
) -> tuple:
    return batch_normalize(x, scale, bias, EPSILON, axis_name, scale.dtype, finish)


def bent(function, *arguments) -> jax.Array:
    """Return a number that is not linear in any of the three results."""
    return jnp.stack([jnp.sin(result).sum() for result in function(*arguments)]).sum()


@pytest.mark.parametrize("finish", [identity, jax.nn.silu])
def test_derivatives_of_both_modes_and_of_second_order_are_those_of_the_definition(finish, x64):
    given = arguments()
    tangents = tuple(jnp.cos(3 * a) for a in given)
    for derivative in (
        lambda f: f(*given),
        lambda f: jax.jvp(f, given, tangents)[1],
        lambda f: jax.grad(partial(bent, f), (0, 1, 2))(*given),
        lambda f: jax.jvp(jax.grad(partial(bent, f), (0, 1, 2)), given, tangents)[1],
        lambda f: jax.grad(lambda *a: (jax.grad(partial(bent, f))(*a) ** 2).sum())(*given),
    ):
        functions = (partial(f, finish=finish) for f in (ours, as_defined))
        results = (jax.jit(partial(derivative, f))() for f in functions)
        jax.tree.map(assert_same, *results)


def test_derivatives_are_those_of_finite_differences(x64):
    check_grads(jax.jit(ours), arguments(), order=2)


@pytest.mark.parametrize("mapped", ["vmap", "shard_map"])
def test_a_mapped_axis_is_one_batch_to_the_gradient_too(mapped: str, x64):
    x, scale, bias = arguments()

    def loss(x, scale, bias, axis_name=None):
        return (jnp.sin(ours(x, scale, bias, axis_name)[0]) * jnp.cos(x)).sum()

    def total(x, scale, bias):
        part = partial(loss, axis_name="data")
        if mapped == "vmap":
            parts = x.reshape(4, 2, *x.shape[1:])
            return jax.vmap(part, (0, None, None), axis_name="data")(parts, scale, bias).sum()
        mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
        return jax.shard_map(
            lambda *a: jax.lax.psum(part(*a), "data"),
            mesh=mesh,
            in_specs=(PartitionSpec("data"), PartitionSpec(), PartitionSpec()),
            out_specs=PartitionSpec(),
        )(x, scale, bias)

    gradients = (jax.jit(jax.grad(f, (0, 1, 2)))(x, scale, bias) for f in (total, loss))
    jax.tree.map(partial(assert_same, quantity="gradient"), *gradients)


def test_the_gradient_reads_the_wide_array_twice_and_no_more(x64):
    """It needs two sums over all pixels, after three of the statistics; the definition five."""

    def sums(function) -> int:
        text = jax.jit(jax.grad(partial(bent, lambda *a: function(*a)[:1]), (0, 1, 2)))
        return present(text.lower(*arguments()).compile().as_text()).count("dimensions={0,1,2}")

    assert sums(ours) == 5 < sums(as_defined)


def test_only_an_accelerator_computes_the_activation_anew():
    def program(platform: str) -> str:
        step = jax.jit(jax.grad(lambda x, s, b: ours(x, s, b, finish=jax.nn.silu)[0].sum()))
        given = (jax.ShapeDtypeStruct(a.shape, jnp.bfloat16) for a in arguments())
        x, *per_channel = given
        per_channel = [jax.ShapeDtypeStruct(a.shape, jnp.float32) for a in per_channel]
        return step.trace(x, *per_channel).lower(lowering_platforms=(platform,)).as_text()

    assert "optimization_barrier" not in program("cpu")
    assert program("cuda").count("optimization_barrier") == 1
    assert program("tpu").count("optimization_barrier") == 1
