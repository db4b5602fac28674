"""The derivative of batch normalization that is written out, against JAX's own."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

import flaxblocks as fb
from flaxblocks import activations
from flaxblocks.ops.activations import Activation
from flaxblocks.ops.batch_normalize import Finish, batch_normalize
from flaxblocks.ops.native.targets import target
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


KERNELS = re.compile(r"@flaxblocks_(\w+?)_[0-9a-f]{8}\b")
ACTS = [
    None,
    activations.relu,
    activations.relu6,
    activations.sigmoid,
    activations.silu,
    activations.hard_sigmoid,
    activations.hard_swish,
]


def step(act: Activation | None, x: jax.Array, g: jax.Array, scale: jax.Array, bias: jax.Array):
    """Return results and gradients."""

    def normalize(x, scale, bias):
        return batch_normalize(x, scale, bias, EPSILON, None, x.dtype, Finish(x.dtype, act))

    results, back = jax.vjp(normalize, x, scale, bias)
    mean = results[1]
    # A gradient of the mean as well: it does not go through the kernel.
    return *results, *back((g, mean + 1, jnp.zeros_like(mean)))


@pytest.mark.parametrize("shape", [(2, 9, 8, 24), (70, 17), (1, 3, 2, 8), (3, 5, 7, 137)])
@pytest.mark.parametrize("act", ACTS, ids=lambda act: getattr(act, "__name__", "none"))
def test_the_native_kernels_are_the_same_function(act, shape: tuple[int, ...], native, x64):
    rng = np.random.default_rng(0)
    x, g = (jnp.asarray(rng.standard_normal(shape)) for _ in range(2))
    each = (1,) * (len(shape) - 1) + shape[-1:]
    scale, bias = (jnp.asarray(2 * rng.standard_normal(each)) for _ in range(2))
    x = 3 * x + 5
    ours = jax.jit(partial(step, act))
    assert KERNELS.findall(ours.lower(x, g, scale, bias).as_text()) == [
        "batch_norm",
        "batch_norm_gradient",
    ]
    results = ours(x, g, scale, bias)
    with fb.ops.convolution("xla"):
        assert not KERNELS.findall(jax.jit(partial(step, act)).lower(x, g, scale, bias).as_text())
        truth = jax.jit(partial(step, act))(x, g, scale, bias)
    for one, other in zip(results, truth, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("act", [activations.relu6, activations.hard_swish, activations.relu])
def test_the_native_gradient_at_the_kinks(act, native, x64):
    """Scale 0 leaves the bias, at a kink, as the activation's input."""
    rng = np.random.default_rng(0)
    x, g = (jnp.asarray(rng.standard_normal((4, 3, 2, 24))) for _ in range(2))
    bias = jnp.asarray(np.resize([-3.0, 0, 3, 6], (1, 1, 1, 24)))
    scale = jnp.zeros_like(bias)
    *_, by_bias = jax.jit(partial(step, act))(x, g, scale, bias)
    slope = jax.vmap(jax.grad(act))(bias.ravel())
    assert set(np.unique(slope)) >= {0, 1} - ({1} if act is activations.relu6 else set())
    assert_same(by_bias.ravel(), g.sum((0, 1, 2)) * slope)


@pytest.mark.parametrize(("center", "width"), [(0, 1), (1000, 0.01)])
def test_the_native_kernels_in_float32_are_as_close_to_the_truth(center, width, native):
    with jax.enable_x64(True):  # not quickly compiled: XLA's rounding is what users get
        rng = np.random.default_rng(0)
        x, g = (jnp.asarray(rng.standard_normal((8, 23, 21, 40)), jnp.float32) for _ in range(2))
        x = (center + width * x).astype(jnp.float32)
        each = (jnp.asarray(rng.standard_normal((1, 1, 1, 40)), jnp.float32) for _ in range(2))
        given = x, g, *each
        truth = jax.jit(partial(step, None))(*(array.astype(jnp.float64) for array in given))
        ours = jax.jit(partial(step, None))(*given)
        with fb.ops.convolution("xla"):
            theirs = jax.jit(partial(step, None))(*given)

        def error(result, exact) -> float:
            return float(jnp.sqrt(jnp.mean(jnp.square(result - exact))))

        for one, other, exact in zip(ours, theirs, truth, strict=True):
            rounding = np.spacing(np.float32(np.abs(exact).max()))
            assert error(one, exact) <= 2 * max(error(other, exact), rounding)


def test_what_has_no_native_kernel(native):
    def called(x: jax.Array, finish) -> list[str]:
        each = jnp.ones((1, 1, 1, x.shape[-1]), jnp.float32)
        arguments = (x, each, each, EPSILON, None, jnp.float32, finish)
        return KERNELS.findall(jax.jit(lambda: batch_normalize(*arguments)).lower().as_text())

    x, single = jnp.ones((2, 3, 4, 16)), Finish(jnp.dtype(jnp.float32))
    assert called(x, single) == ["batch_norm"]
    assert called(x[..., :15], single) == []
    assert called(x.astype(jnp.bfloat16), single) == []
    assert called(x, Finish(jnp.dtype(jnp.bfloat16))) == []
    assert called(x, Finish(jnp.dtype(jnp.float32), activations.gelu)) == []
    assert called(x, identity) == []


EACH = (16,)
FORWARD = ((2, 3, 16), EACH, EACH), ((2, 3, 16), EACH, EACH)
BACKWARD = ((2, 3, 16), (2, 3, 16), EACH, EACH, EACH, EACH), ((2, 3, 16), EACH, EACH)


def raw(call, dtype=jnp.float32, epsilon: float = EPSILON, activation: int = 1):
    arrays, results = call
    name = "batch_norm" if len(arrays) == 3 else "batch_norm_gradient"
    types = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in results]
    return jax.ffi.ffi_call(target(name), types)(
        *(jnp.ones(shape, dtype) for shape in arrays),
        epsilon=np.float64(epsilon),
        activation=np.int64(activation),
    )


def changed(call: tuple, place: int, shape: tuple[int, ...]) -> tuple:
    arrays = [shape if i == place else own for i, own in enumerate(call[0])]
    results = [shape if i == place - len(arrays) else own for i, own in enumerate(call[1])]
    return arrays, results


@pytest.mark.parametrize("call", [FORWARD, BACKWARD], ids=["forward", "backward"])
def test_what_does_not_fit_the_native_kernels_is_refused(call: tuple):
    assert all(np.isfinite(result).all() for result in raw(call))
    error = partial(pytest.raises, jax.errors.JaxRuntimeError)
    for place, shape in enumerate(call[0] + call[1]):
        other = (17,) if shape == EACH else (2, 4, 16)
        with error(match="flaxblocks: .*(for each channel|one shape)"):
            raw(changed(call, place, other))
    with error(match="`epsilon` must be at least 0"):
        raw(call, epsilon=-1)
    with error(match="`activation` is none"):
        raw(call, activation=8)
    with error(match="one dtype"):
        raw(call, dtype=jnp.float16)
    few = [[(*shape[:-1], 3) for shape in shapes] for shapes in call]
    with error(match="must fill a vector"):
        raw(few)
    none = [[shape if shape == EACH else (0, 3, 16) for shape in shapes] for shapes in call]
    with error(match="values to take a mean of"):
        raw(none)
    if call is BACKWARD:
        with error(match="GELU has no gradient"):
            raw(call, activation=7)
