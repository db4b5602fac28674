"""Steps that are one operation of ONNX Runtime's: products, softmax, group normalization."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.ops.resize import bilinear_resize
from tests.helpers.exported import operators, randomized


class Of(nnx.Module):
    """A function of what a convolution computes."""

    def __init__(self, function: Callable[[jax.Array], jax.Array]):
        self.conv, self.function = fb.Conv(3, 6, 3, rngs=nnx.Rngs(0)), function

    def __call__(self, x):
        return jnp.tanh(self.function(self.conv(x)))


class Attention(nnx.Module):
    """Weighs pixels by their products with each other, in two heads."""

    def __init__(self):
        self.conv = fb.Conv(3, 12, 1, rngs=nnx.Rngs(0))

    def __call__(self, x):
        n, h, w, _ = x.shape
        first, second, values = jnp.split(self.conv(x).reshape(n, h * w, 2, 6), 3, axis=3)
        weights = jax.nn.softmax(jnp.einsum("nphc,nqhc->nhpq", first, second))
        return jnp.einsum("nhpq,nqhc->nphc", weights, values).reshape(n, h, w, 4)


@pytest.mark.parametrize("suffix", ["onnx", pytest.param("pt2", marks=pytest.mark.slow)])
def test_products_of_two_arrays_of_the_images(suffix: str, tmp_path):
    model, path = Attention(), tmp_path / f"model.{suffix}"
    fb.export(model, path, input_size=(3, 4))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 3)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok


class Correlation(nnx.Module):
    """Mixes the channels of each pixel by the products of whole channels."""

    def __init__(self):
        self.conv, self.project = (fb.Conv(3, 3, 1, rngs=nnx.Rngs(seed)) for seed in (0, 1))

    def __call__(self, x):
        n, h, w, c = x.shape
        pixels = jnp.tanh(self.conv(x)).reshape(n, h * w, c)
        products = jnp.einsum("npc,npd->ncd", pixels, pixels)
        mixed = jnp.einsum("npc,ncd->npd", pixels, products)
        return self.project(mixed.reshape(n, h, w, c))


class SharedKeys(nnx.Module):
    """Weighs a fourth of the pixels by products with each, in two heads that share the fourth."""

    def __init__(self):
        self.queries = fb.Conv(3, 4, 1, rngs=nnx.Rngs(0))
        self.few = fb.Conv(3, 4, 1, stride=2, rngs=nnx.Rngs(1))
        self.project = fb.Conv(4, 3, 1, rngs=nnx.Rngs(2))

    def __call__(self, x):
        n, h, w, _ = x.shape
        keys, values = jnp.split(self.few(x).reshape(n, -1, 4), 2, axis=2)
        queries = self.queries(x).reshape(n, h * w, 2, 2)
        weights = jax.nn.softmax(jnp.einsum("nphc,nqc->nphq", queries, keys))
        means = jnp.einsum("nphq,nqc->nphc", weights, values)
        return self.project(means.reshape(n, h, w, 4))


PRODUCTS = {
    "attention": (Attention, 1),
    "correlation": (Correlation, 0),
    "shared_keys": (SharedKeys, 1),
}
"""Modules of two products of matrices, and how often they have softmax."""


@pytest.mark.parametrize("batch", [1, "dynamic"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_matrices_move_nothing(name: str, batch, tmp_path):
    make, count = PRODUCTS[name]
    model, path = make(), tmp_path / "a.onnx"
    fb.export(model, path, input_size=(4, 5), batch=batch)
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok
    found = operators(path)
    assert (found["MatMul"], found["Softmax"], found["Einsum"]) == (2, count, 0)
    nodes = onnx.load(path).graph.node
    axes = [node.attribute[0].i for node in nodes if node.op_type == "Softmax"]
    assert axes == [3] * count  # the last one, which ONNX Runtime is fast along
    turns = [list(node.attribute[0].ints) for node in nodes if node.op_type == "Transpose"]
    moved = [turn for turn in turns if turn[:-2] != list(range(len(turn) - 2))]
    assert moved == [[0, 3, 1, 2], [0, 2, 3, 1]]  # at the borders; the products do the others


def crossed(x: jax.Array) -> jax.Array:
    """Return what is a softmax but for the axis that is added up."""
    powers = jnp.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(2, keepdims=True)


def of_another(x: jax.Array) -> jax.Array:
    """Return what is a softmax but for the array whose greatest number is taken off."""
    powers = jnp.exp(x - jnp.tanh(x).max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


SOFTMAXES = {
    "channels": (jax.nn.softmax, 1),
    "rows": (partial(jax.nn.softmax, axis=1), 1),
    "pixels": (partial(jax.nn.softmax, axis=(1, 2)), 0),
    "crossed": (crossed, 0),
    "of another": (of_another, 0),
}
"""Functions, and whether each is a softmax along one axis."""


@pytest.mark.parametrize("suffix", ["onnx", pytest.param("pt2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("function", SOFTMAXES)
def test_softmax_is_one_operation(function: str, suffix: str, tmp_path):
    computed, count = SOFTMAXES[function]
    model, path = Of(computed), tmp_path / f"model.{suffix}"
    fb.export(model, path, input_size=(6, 5))
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok
    if suffix == "onnx":
        assert operators(path)["Softmax"] == count


class Groups(nnx.Module):
    """Is a group normalization, or is one but for something."""

    def __init__(self, *, interleaved=False, of_another=False, kept=False, centered=True):
        self.interleaved, self.of_another = interleaved, of_another
        self.kept, self.centered = kept, centered

    def __call__(self, x):
        n, h, w, c = x.shape
        pieces = (jnp.tanh(x) if self.of_another else x).reshape(n, h, w, 2, c // 2)
        mean = pieces.mean((1, 2, 4), keepdims=self.kept)
        shift = mean if self.kept else mean[:, None, None, :, None]
        centered = pieces - shift if self.centered else pieces
        variance = jnp.square(centered).mean((1, 2, 4), keepdims=self.kept)

        def spread(y):
            axis = 1 if self.interleaved else 2
            shape = (n, c // 2, 2) if self.interleaved else (n, 2, c // 2)
            repeated = jnp.broadcast_to(jnp.expand_dims(y.reshape(n, 2), axis), shape)
            return repeated.reshape(n, 1, 1, c)

        scale, shift = (np.linspace(1, 2, c, dtype=np.float32) + i for i in (0, 1))
        moved = x - spread(mean) if self.centered else jnp.tanh(x)
        return moved * (jax.lax.rsqrt(spread(variance) + 1e-5) * scale) + shift


GROUPS = {
    "flaxblocks": (lambda: GroupNorm(8, num_groups=2, rngs=nnx.Rngs(0)), 1, 0),
    "one group": (lambda: GroupNorm(8, num_groups=1, rngs=nnx.Rngs(0)), 1, 0),
    "by hand": (Groups, 1, 0),
    "axes kept": (partial(Groups, kept=True), 1, 0),
    "interleaved": (partial(Groups, interleaved=True), 0, 2),
    "of another": (partial(Groups, of_another=True), 0, 2),
    "of squares": (partial(Groups, centered=False), 0, 1),
}
"""Modules, whether each is a group normalization, and how many means are left."""


@pytest.mark.parametrize("name", GROUPS)
def test_group_norm_is_an_operation_of_its_own(name: str, tmp_path):
    make, count, means = GROUPS[name]
    model, path = randomized(make()), tmp_path / "model.onnx"
    fb.export(model, path, input_size=(2, 4), in_features=8)
    x = np.random.default_rng(0).normal(1, 2, size=(3, 2, 4, 8)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok
    found = operators(path)
    assert (found["InstanceNormalization"], found["ReduceMean"]) == (count, means)


def taken(rows: list[int] | range, columns: list[int] | range) -> Callable[[jax.Array], jax.Array]:
    return lambda x: x[:, np.asarray(rows)][:, :, np.asarray(columns)]


def mixed(rows: list[int], others: list[int], parts: list[float], x: jax.Array) -> jax.Array:
    """Return 3 rows, each between two of 2; a resize has 0, 0, 1 and 1, 1, 1, and 0, 1/2, 1/6."""
    part = np.asarray(parts, np.float32)[:, None, None]
    return x[:, np.asarray(rows)] * (1 - part) + x[:, np.asarray(others)] * part


RESIZES = {
    "interpolated": (partial(bilinear_resize, size=(5, 6)), 1),
    "interpolated along columns": (partial(bilinear_resize, size=(2, 6)), 1),
    "interpolated by hand": (partial(mixed, [0, 0, 1], [1, 1, 1], [0, 1 / 2, 1 / 6]), 1),
    "between other rows": (partial(mixed, [0, 1, 1], [1, 0, 0], [0, 1 / 2, 1 / 6]), 0),
    "with other weights": (partial(mixed, [0, 0, 1], [1, 1, 1], [0, 1 / 4, 1 / 6]), 0),
    "to 7 rows and 5 columns": (taken([0, 0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2]), 1),
    "of 2 rows and 3 columns": (lambda x: x[:, np.arange(4) // 2][:, :, np.arange(9) // 3], 1),
    "columns": (taken(range(2), [0, 0, 1, 1, 2, 2]), 1),
    "in another order": (taken([1, 1, 0, 0], [0, 1, 2]), 0),
    "the first more often": (taken([0, 0, 0, 1], [0, 1, 2]), 0),
    "channels": (lambda x: x[..., np.arange(12) // 2], 0),
}
"""Functions of images of 2 x 3 pixels, and whether each is a resize."""


@pytest.mark.parametrize("name", RESIZES)
def test_pixels_that_are_repeated_or_interpolated_are_resized(name: str, tmp_path):
    function, count = RESIZES[name]
    model, path = Of(function), tmp_path / "model.onnx"
    fb.export(model, path, input_size=(2, 3))
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok
    found = operators(path)
    assert (found["Gather"] == 0) == bool(count)
    # The first rows that "with other weights" mixes are repeated ones.
    assert found["Resize"] == max(count, name == "with other weights")
