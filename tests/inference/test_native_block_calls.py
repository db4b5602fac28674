"""Where inverted residuals become one native kernel, and where they stay as they are."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import flaxblocks as fb
from flaxblocks import activations, ops
from tests.helpers.arrays import assert_close
from tests.helpers.folded import CALL, folded, gate, image, is_called, run

pytestmark = pytest.mark.usefixtures("quick", "xla_forms")


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
    with ops.convolution("native"):
        ours = jax.jit(everything)(state, x)
        assert is_called(loss, state, x)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(truth), strict=True):
        assert_close(a, b, 1e-11)


def test_transformations_hold(block: fb.MBConv):
    x = image(block, 3, 5, 6)
    truth = run(block, x)
    with ops.convolution("native"):
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
    with ops.convolution("native"):
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
    with ops.convolution("native"), jax.log_compiles():
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


class Doubled(fb.MBConv):
    """A block that somebody changed."""

    def __call__(self, x):
        return 2 * super().__call__(x)


def converted(kind: type[fb.MBConv] = fb.MBConv, **kwargs) -> fb.MBConv:
    block = kind(16, 16, **kwargs, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    return fb.for_inference(block)


OTHERS = {
    "not for inference": lambda: fb.MBConv(
        16, 16, norm=None, param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    ),
    "another normalization": partial(converted, norm=fb.LayerNorm),
    "a block of their own": partial(converted, Doubled),
    "an activation of their own": partial(folded, 16, 16, act=lambda x: x * activations.sigmoid(x)),
    "another gate": partial(folded, 16, 16, se=lambda features, **_: lambda x: x / features),
    "few outputs": partial(folded, 8, 7),
    "few hidden channels": partial(folded, 3, 16, 2),
    "groups of several channels": partial(folded, 16, 16, group_size=8),
    "half precision": partial(folded, 32, 32, dtype=jnp.bfloat16),
    "another dtype of the computation": partial(converted, dtype=jnp.float32),
    "a layer of their own": partial(with_layer_of_their_own, partial(Scaled, kernel_size=1)),
    "a wider projection": partial(with_layer_of_their_own, partial(fb.Conv, kernel_size=3)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_it_is_not_for_stays_as_it_is(name: str, x64):
    block = OTHERS[name]()
    x = image(block, 2, 5, 6, dtype=block.depthwise.conv.kernel.dtype)
    with ops.convolution("native"):
        assert not is_called(nnx.jit(lambda block, x: block(x)), block, x)
        y = run(block, x)
    assert_close(y, run(block, x), 1e-2 if name == "half precision" else 1e-6)


def test_a_wrong_image_is_refused_in_the_same_words(block: fb.MBConv):
    with ops.convolution("native"), pytest.raises(ValueError, match="`x` must have shape"):
        block(jnp.ones((2, 5, 6, 15)))


def test_the_switches_are_followed(block: fb.MBConv):
    x = image(block, 1, 5, 6)
    assert not is_called(block, x)
    with ops.convolution("native"), ops.convolution("lax"):
        assert not is_called(block, x)


def test_an_empty_batch(block: fb.MBConv):
    with ops.convolution("native"):
        assert block(jnp.ones((0, 5, 6, 16))).shape == (0, 5, 6, 16)
