"""A few images at a time: the same results, only on CPU, and only what fits in the cache."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import flaxblocks as fb
from flaxblocks.ops.jaxprs import equations
from tests.helpers.twins import image
from tests.helpers.typed import instance

X = jnp.asarray(image((6, 5, 5, 4)), jnp.float32)
IMAGE = 5 * 5 * 4 * 4  # bytes


def double(x: jax.Array) -> jax.Array:
    """Compute with an array that is twice as wide as the image."""
    return jnp.concatenate([x, x], axis=3).reshape(*x.shape, 2).sum(4)


def chunks(cache: int, x: jax.Array = X) -> list[int]:
    """Return the lengths of the loops over chunks."""
    jaxpr = jax.make_jaxpr(lambda x: fb.ops.in_chunks(double, x, cache=cache))(x).jaxpr
    return [e.params["length"] for e in equations(jaxpr) if e.primitive.name == "scan"]


@pytest.mark.parametrize(
    ("images", "loops"), [(1, [6]), (2, [3]), (3, [2]), (5, [2]), (6, []), (0.5, [6])]
)
def test_takes_as_many_images_as_fit_and_divide(images: float, loops: list[int]):
    cache = int(2 * images * IMAGE)
    assert chunks(cache) == loops
    y = jax.jit(lambda x: fb.ops.in_chunks(double, x, cache=cache))(X)
    assert np.array_equal(y, double(X))


def test_what_comes_and_goes_counts_not_the_result():
    def widened(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x, x], axis=3)

    for function in (widened, jax.jit(widened)):
        jaxpr = jax.make_jaxpr(lambda x, f=function: fb.ops.in_chunks(f, x, cache=1))(X).jaxpr
        assert all(e.primitive.name != "scan" for e in equations(jaxpr))


def test_one_image_and_the_plain_form_are_one_call():
    assert chunks(1, X[:1]) == []
    with fb.ops.convolution("lax"):
        assert chunks(1) == []


def test_the_loop_is_for_the_cpu_alone():
    def run(x):
        return fb.ops.in_chunks(double, x, cache=1)

    lowered = {p: export.export(jax.jit(run), platforms=[p])(X).mlir_module() for p in PLATFORMS}
    assert {p: "while" in text for p, text in lowered.items()} == PLATFORMS
    both = export.export(jax.jit(run), platforms=list(PLATFORMS))(X)
    assert np.array_equal(both.call(X), double(X))


PLATFORMS = {"cpu": True, "cuda": False, "tpu": False}


def test_a_batch_of_unknown_size_is_one_call():
    (n,) = export.symbolic_shape("n")
    shape = jax.ShapeDtypeStruct((n, *X.shape[1:]), X.dtype)
    exported = export.export(jax.jit(lambda x: fb.ops.in_chunks(double, x, cache=1)))(shape)
    assert np.array_equal(exported.call(X), double(X))


def test_new_weights_are_seen():
    block = fb.MBConv(4, 4, 2, rngs=nnx.Rngs(0))
    block.eval()
    before = fb.ops.in_chunks(block, X, cache=1)
    kernel = instance(block.project.conv, fb.Conv).kernel
    kernel[...] = 2 * kernel[...]
    after = fb.ops.in_chunks(block, X, cache=1)
    np.testing.assert_allclose(after, block(X), rtol=1e-5, atol=1e-6)
    assert not np.allclose(before, after)
