"""LiteRT; the slow tests need its converter: `pip install 'flaxblocks[litert]'`."""

import re
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export as jax_export

import flaxblocks as fb
from flaxblocks.exporting.litert_marks import CHANNELS as SLICES
from flaxblocks.exporting.litert_marks import MARK, MARKS
from flaxblocks.exporting.litert_steps import as_litert
from flaxblocks.ops.resize import bilinear_resize, nearest_resize
from tests.helpers.exported import CHANNELS, SIZE, Column, crops, randomized

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Chosen(nnx.Module):
    """Takes rows and columns at places that are known, and turns channels around."""

    def __init__(self):
        self.conv = fb.Conv(CHANNELS, 6, 3, rngs=nnx.Rngs(0))

    def __call__(self, x):
        x = self.conv(x)
        resized = bilinear_resize(x, (9, 4)) + nearest_resize(x, (9, 4))
        return resized[..., jnp.asarray([1, 0, 5, 5])]


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 6, 5, CHANNELS)).astype(np.float32)


def test_in_its_forms_a_function_is_the_same():
    model = Chosen()
    found = jax.jit(as_litert(model))(pixels(2))
    np.testing.assert_allclose(found, jax.jit(model)(pixels(2)), atol=1e-6)
    text = jax.jit(as_litert(model)).lower(pixels(2)).as_text()
    assert "gather" not in text and "gather" in jax.jit(model).lower(pixels(2)).as_text()


def test_adds_up_an_axis_at_a_time():
    def model(x):
        return x.mean((1, 2)) + jnp.tanh(x).sum((1, 2)) + (x * x).mean((2, 1, 3), keepdims=True)[0]

    text = jax.jit(as_litert(model)).lower(pixels(2)).as_text()
    axes = re.findall(r"stablehlo.reduce\(.*across dimensions = \[(.*?)\]", text)
    assert len(axes) == 7 and all("," not in axis for axis in axes)
    found, expected = (jax.jit(f)(pixels(2)) for f in (as_litert(model), model))
    np.testing.assert_allclose(found, expected, atol=1e-5)


LONG = {  # convolutions, and of how many products each of their parts adds up
    "pointwise": (1100, partial(fb.Conv, 1100, 6, 1), [368, 368, 364]),
    "dense": (130, partial(fb.Conv, 130, 6, 3, stride=2), [432, 432, 306]),
    "grouped": (150, partial(fb.Conv, 150, 6, 3, groups=2), [360, 315]),
    "short": (512, partial(fb.Conv, 512, 6, 1), [512]),
}


def activations(channels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 5, 4, channels)).astype(np.float32)


@pytest.mark.parametrize("name", LONG)
def test_long_convolutions_are_sums_of_short_ones(name: str, monkeypatch):
    channels, make, products = LONG[name]
    model, images = make(rngs=nnx.Rngs(0)), activations(channels)
    text = jax.jit(as_litert(model)).lower(images).as_text()
    kernels = re.findall(r"convolution\(.*tensor<(\d+)x(\d+)x(\d+)x6xf32>\) ->", text)
    assert [prod(map(int, kernel)) for kernel in kernels] == products
    slices = len(products) if len(products) > 1 else 0
    assert text.count(f"@{SLICES}(") == slices

    def sliced(x, start: int, end: int):
        return x[..., start:end]

    monkeypatch.setattr("flaxblocks.exporting.litert_steps.channels", sliced)
    found = jax.jit(as_litert(model))(images)
    np.testing.assert_allclose(found, jax.jit(model)(images), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LONG if name != "short"])
def test_short_sums_are_more_exact(name: str, tmp_path, monkeypatch):
    channels, make, _ = LONG[name]
    model, images = make(use_bias=False, rngs=nnx.Rngs(0)), activations(channels)
    with jax.enable_x64():
        wide = make(use_bias=False, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
        wide.kernel.set_value(model.kernel.get_value().astype(jnp.float64))
        truth = np.asarray(jax.jit(wide)(images.astype(np.float64)))
    errors = []
    for most in (512, 10**9):
        monkeypatch.setattr("flaxblocks.exporting.litert_steps.MOST_PRODUCTS", most)
        path = tmp_path / f"{most}.tflite"
        fb.export(model, path, input_size=(5, 4), in_features=channels)
        errors.append(np.sqrt(np.square(fb.load_exported(path)(images) - truth).mean()))
    assert errors[0] < errors[1] < 1e-5, errors


class Nearest(nnx.Module):
    """Takes pixels at places that depend on the images."""

    @fb.layers.scopes.scoped
    def __call__(self, x):
        with jax.named_scope("choice"):
            return jnp.take_along_axis(x, x.argmax(1, keepdims=True), 1)


def test_what_it_has_no_form_of_names_its_layer():
    with pytest.raises(ValueError, match=r"cannot be exported: gather in .*choice"):
        jax.eval_shape(as_litert(Nearest()), pixels(2))


def test_arrays_in_integers_have_their_types(network: nnx.Module):
    images = crops(4, SIZE) / np.float32(128) - np.float32(1)
    quantized = fb.quantize(network, images)
    exported = jax_export.export(jax.jit(as_litert(quantized)), disabled_checks=MARKS)(images)
    text = exported.mlir_module()
    kinds = re.findall(rf"@{MARK}\(.*kind = \"(.*?)\"", text)
    weights = [kind for kind in kinds if kind.startswith("!quant.uniform<i8<-127:127>:f32:")]
    grids = [kind for kind in kinds if kind.startswith("!quant.uniform<i8:f32, ")]
    assert len(weights) == 9 and len(weights) + len(grids) == len(kinds)
    zeros = [int(kind.rstrip(">").rpartition(":")[2]) for kind in grids]
    assert min(zeros) == -128 and max(zeros) < 127
    assert "optimization_barrier" in text  # around what is done in float32


@pytest.mark.slow
@pytest.mark.parametrize("batch", (2, "dynamic"))
def test_places_that_are_known_are_taken(batch, tmp_path):
    model, path = Chosen(), tmp_path / "chosen.tflite"
    fb.export(model, path, input_size=(6, 5), batch=batch, in_features=CHANNELS)
    assert fb.verify_exported(model, path, pixels(4)).ok


@pytest.mark.slow
@pytest.mark.parametrize("batch", (4, "dynamic"))
def test_its_integers_are_those_of_jax(batch, network: nnx.Module, tmp_path):
    images = (crops(200, SIZE) / np.float32(255) - np.float32(0.45)) / np.float32(0.22)
    quantized, path = fb.quantize(network, images[:32]), tmp_path / "model.tflite"
    fb.export(quantized, path, input_size=SIZE, batch=batch)
    found = fb.verify_exported(quantized, path, images)
    assert found.ok and found.dtype == "int8" and found.difference < 1e-6, found
    assert fb.verify_exported(network, path, images).ok
    assert path.stat().st_size < 40_000  # a third of it in float32


@pytest.mark.slow
@pytest.mark.parametrize("batch", (2, "dynamic"))
def test_the_blocks_of_the_tutorial_are_the_same_functions(batch, tmp_path):
    model, path = randomized(Column()), tmp_path / "column.tflite"
    fb.export(model, path, input_size=(13, 11), batch=batch, in_features=CHANNELS)
    x = np.random.default_rng(0).normal(size=(3, 13, 11, CHANNELS)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok


@pytest.mark.slow
def test_a_network_takes_bytes_and_says_what_it_is(network: nnx.Module, tmp_path):
    path, classes = tmp_path / "model.tflite", tuple("abcdefg")
    fb.export(network, path, input_size=SIZE, classes=classes, prepare_images=True)
    assert fb.verify_exported(network, path, crops(3, SIZE)).ok
    assert fb.load_exported(path).classes == classes


@pytest.mark.slow
def test_a_file_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"model.tflite is damaged, or no exported LiteRT model"):
        fb.load_exported(path)
