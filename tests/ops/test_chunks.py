"""A few images at a time: the same results, only on CPU, and only what fits in the cache."""

from collections.abc import Callable
from functools import partial

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


def widened(x: jax.Array, times: int = 4) -> jax.Array:
    """Compute with two arrays that are so many times as wide as the image."""
    return jnp.concatenate([x] * times, axis=3).reshape(*x.shape, times).sum(4)


def loops(
    function: Callable[[jax.Array], jax.Array], cache: int = 1, x: jax.Array = X
) -> list[int]:
    """Return the lengths of the loops over chunks."""
    jaxpr = jax.make_jaxpr(lambda x: fb.ops.in_chunks(function, x, cache=cache))(x).jaxpr
    return [e.params["length"] for e in equations(jaxpr) if e.primitive.name == "scan"]


@pytest.mark.parametrize(
    ("images", "lengths"), [(1, [6]), (2, [3]), (3, [2]), (5, [2]), (6, []), (0.5, [6])]
)
def test_takes_as_many_images_as_fit_and_divide(images: float, lengths: list[int]):
    cache = int(4 * images * IMAGE)
    assert loops(widened, cache) == lengths
    y = jax.jit(lambda x: fb.ops.in_chunks(widened, x, cache=cache))(X)
    assert np.array_equal(y, widened(X))


def test_what_comes_and_goes_counts_not_the_result():
    def wide(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x] * 9, axis=3)

    for function in (wide, jax.jit(wide)):
        assert not loops(function)


def test_few_temporaries_are_not_worth_the_copies():
    assert loops(partial(widened, times=3)) == [6]  # three bytes for each that is copied
    assert not loops(partial(widened, times=2))


def test_weights_are_not_of_an_image():
    weights = jnp.ones((1000, 4))

    def scaled(x: jax.Array, weights: jax.Array = weights) -> jax.Array:
        return x * (2 * weights).sum(0)

    def within(x: jax.Array) -> jax.Array:
        return jax.jit(scaled)(x, weights)

    for function in (scaled, within, lambda x: scaled(widened(x, 1))):
        assert not loops(function)


def test_one_image_and_the_plain_form_are_one_call():
    assert loops(widened, x=X[:1]) == []
    with fb.ops.convolution("lax"):
        assert loops(widened) == []


def test_the_loop_is_for_the_cpu_alone():
    def run(x):
        return fb.ops.in_chunks(widened, x, cache=1)

    lowered = {p: export.export(jax.jit(run), platforms=[p])(X).mlir_module() for p in PLATFORMS}
    assert {p: "while" in text for p, text in lowered.items()} == PLATFORMS
    both = export.export(jax.jit(run), platforms=list(PLATFORMS))(X)
    assert np.array_equal(both.call(X), widened(X))


PLATFORMS = {"cpu": True, "cuda": False, "tpu": False}


def test_a_batch_of_unknown_size_is_one_call():
    (n,) = export.symbolic_shape("n")
    shape = jax.ShapeDtypeStruct((n, *X.shape[1:]), X.dtype)
    exported = export.export(jax.jit(lambda x: fb.ops.in_chunks(widened, x, cache=1)))(shape)
    assert np.array_equal(exported.call(X), widened(X))


def test_new_weights_are_seen():
    block = fb.MBConv(4, 4, 6, rngs=nnx.Rngs(0))
    block.eval()
    assert loops(block) == [6]
    before = fb.ops.in_chunks(block, X, cache=1)
    kernel = instance(block.project.conv, fb.Conv).kernel
    kernel[...] = 2 * kernel[...]
    after = fb.ops.in_chunks(block, X, cache=1)
    np.testing.assert_allclose(after, block(X), rtol=1e-5, atol=1e-6)
    assert not np.allclose(before, after)
