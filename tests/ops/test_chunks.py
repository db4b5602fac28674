"""A few images at a time: the same results, only on CPU, and only what fits in the cache."""

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
    with fb.ops.plain_convolution():
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
    kernel = block.project.conv.kernel
    kernel[...] = 2 * kernel[...]
    after = fb.ops.in_chunks(block, X, cache=1)
    np.testing.assert_allclose(after, block(X), rtol=1e-5, atol=1e-6)
    assert not np.allclose(before, after)


@pytest.fixture(scope="module")
def network() -> fb.models.Backbone:
    return fb.create_model("mobilenet_v3_small", num_classes=3, rngs=nnx.Rngs(0))


def loops(network: fb.models.Backbone, x: jax.ShapeDtypeStruct) -> int:
    graphdef, state = nnx.split(network)
    run = jax.make_jaxpr(lambda s, x: nnx.merge(graphdef, s, copy=True)(x))
    return sum(e.primitive.name == "scan" for e in equations(run(state, x).jaxpr))


def test_a_network_takes_its_wide_stages_in_chunks_at_inference(network):
    images = jax.ShapeDtypeStruct((16, 224, 224, 3), jnp.float32)
    network.eval()
    network.in_chunks = True
    assert loops(network, images) > 1
    network.train()
    assert loops(network, images) == 0
    network.eval()
    network.in_chunks = False
    assert loops(network, images) == 0


def test_a_networks_results_are_the_same(network, monkeypatch):
    network.eval()
    x = jnp.asarray(image((4, 33, 33, 3)), jnp.float32)
    whole = nnx.jit(lambda m, x: m(x))(network, x)
    network.in_chunks = True
    tiny = partial(fb.ops.in_chunks, cache=1)
    monkeypatch.setattr("flaxblocks.models.backbone.in_chunks", tiny)
    chunked = nnx.jit(lambda m, x: m(x))(network, x)
    assert loops(network, x) == 1 + len(network.stages)
    np.testing.assert_allclose(chunked, whole, rtol=1e-5, atol=1e-5)
