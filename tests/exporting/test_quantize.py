"""int8: the arithmetic, the integers beside ONNX Runtime's, and what is refused."""

from collections import Counter
from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from flax import nnx
from PIL import Image

import flaxblocks as fb
from flaxblocks.cli import main
from flaxblocks.exporting import Quantized
from flaxblocks.exporting.quantization.grid import Grid
from flaxblocks.exporting.quantization.integers import Window, integer_linear, round_to_grid
from flaxblocks.weights.card import Card
from tests.helpers.exported import PREPROCESS, SIZE, SMALL, crops


def images(count: int) -> np.ndarray:
    mean, std = (np.asarray(color, np.float32) for color in (PREPROCESS.mean, PREPROCESS.std))
    return (crops(count, SIZE) / np.float32(255) - mean) / std


@pytest.mark.parametrize(
    ("low", "high", "grid"),
    [
        (0.0, 2.55, Grid(float(np.float32(0.01)), 0)),
        (1.0, 5.1, Grid(float(np.float32(0.02)), 0)),  # 0 is always on it
        (-2.55, -1.0, Grid(float(np.float32(0.01)), 255)),
        (-1.0, 254.0, Grid(1.0, 1)),
        (0.0, 0.0, Grid(1.0, 0)),
    ],
)
def test_a_grid_covers_a_range_and_zero(low: float, high: float, grid: Grid):
    assert Grid.covering(low, high) == grid


def test_rounding_is_half_to_even_and_keeps_within_the_grid():
    x = np.asarray([-3.0, -0.5, 0.5, 1.5, 2.5, 300.0], np.float32)
    rounded = round_to_grid(jax.numpy.asarray(x), Grid(1.0, 1))
    np.testing.assert_array_equal(rounded, [-1, 0, 0, 2, 2, 254])


@pytest.mark.parametrize("channels", [3, 600])  # in a sum of 600 float32 alone would round
def test_a_convolution_adds_up_integers_without_rounding(channels: int):
    rng = np.random.default_rng(0)
    x = rng.integers(50, 156, (1, 4, 5, channels))
    kernel = rng.integers(60, 128, (4, channels, 3, 3))
    bias, terms = rng.integers(-1000, 1000, 4), 9 * channels
    window = Window((1, 1), ((0, 0), (0, 0)), (1, 1), 1)

    result = integer_linear(
        jax.numpy.asarray(x, np.float32),
        kernel.astype(np.int8),
        np.ones(4, np.float32),
        bias.astype(np.int32),
        source=Grid(1.0, 100),
        result=None,
        window=window,
    )

    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
    expected = np.einsum("nhwcij,ocij->nhwo", windows, kernel) + bias
    assert expected.max() > 8_000 * terms
    np.testing.assert_array_equal(result, expected.astype(np.float32))


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return {}


@pytest.fixture
def quantized(network: nnx.Module, made) -> Quantized:
    """Return the network in int8; tests share it."""
    if "quantized" not in made:
        made["quantized"] = fb.quantize(network, images(8))
    return made["quantized"]


def test_it_is_near_the_network_and_computed_in_integers(quantized, network, tmp_path):
    path = fb.export(quantized, tmp_path / "model.onnx", input_size=SIZE)

    exported, x = fb.load_exported(path), images(200)
    assert exported.description.dtype == "int8" and exported.preprocess == PREPROCESS
    found, expected = exported(x), np.asarray(quantized(x))
    same = np.abs(found - expected) <= 1e-6 * np.abs(expected).max()
    assert same.mean() > 0.95 and np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    beside = fb.verify_exported(network, path, x)
    assert 1e-4 < beside.difference < 0.2 and beside.same_class >= 190, beside
    assert beside.ok and beside.least_same == 180

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # it warns that the file is for this processor
    onnxruntime.InferenceSession(path, options)
    nodes = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert nodes["QLinearConv"] == 8 and nodes["QGemm"] == 1 and "Conv" not in nodes


def test_the_integers_are_stored(quantized, tmp_path):
    path = fb.export(quantized, tmp_path / "model.onnx", input_size=SIZE, prepare_images=True)
    stored = onnx.load(path).graph.initializer
    kinds = Counter(onnx.helper.tensor_dtype_to_np_dtype(array.data_type).name for array in stored)
    assert kinds["int8"] == 2 * 9  # the weights and their zeros
    assert not [array for array in stored if array.data_type == 1 and np.prod(array.dims) > 100]
    x = crops(4, SIZE)
    found = fb.verify_exported(quantized, path, x)
    assert found.ok and found.least_same == found.same_class == 4, found


@pytest.mark.slow
def test_a_program_of_stablehlo_is_the_simulation(quantized, tmp_path):
    path = fb.export(quantized, tmp_path / "model.stablehlo", input_size=SIZE)
    found = fb.verify_exported(quantized, path, images(8))
    assert found.ok and found.difference < 1e-6, found


def test_the_command_calibrates_by_a_folder_and_compares_twice(network, tmp_path, capsys):
    run, photos, out = tmp_path / "run", tmp_path / "photos", tmp_path / "model.onnx"
    run.mkdir()
    fb.save_weights(network, run / "model.safetensors")
    Card(SMALL, 7, PREPROCESS, classes=tuple("abcdefg")).write(run)
    photos.mkdir()
    for number, crop in enumerate(crops(8, 50)):
        Image.fromarray(crop).save(photos / f"{number}.png")
    command = ["export", "--run", str(run), "--out", str(out), "--dtype", "int8"]
    assert main([*command, "--calibration", str(photos)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "Runtime" in line]
    simulated, trained = rows
    assert simulated[5:8] == ["int8", "240", "240"]
    assert trained[5:7] == ["float32", "240"] and int(trained[7]) >= 216
    assert fb.load_exported(out).classes == tuple("abcdefg")
    assert main([*command[:-1], "float32", "--calibration", str(photos)]) == 2
    assert "`--calibration` is for `--dtype int8`" in capsys.readouterr().err


REFUSED = [
    (np.zeros((0, SIZE, SIZE, 3), np.float32), ValueError, "must be one image or more, got none"),
    (np.zeros((1, SIZE, SIZE, 3)), TypeError, r"float32 .*, got float64 of shape \(1, 32, 32, 3"),
    (np.zeros((SIZE, SIZE, 3), np.float32), TypeError, r"got float32 of shape \(32, 32, 3\)"),
    (np.full((1, SIZE, SIZE, 3), np.nan, np.float32), ValueError, "compute infinity or NaN"),
]


@pytest.mark.parametrize(
    ("given", "error", "words"), REFUSED, ids=("none", "float64", "one", "nan")
)
def test_what_is_no_calibration_is_refused(given, error, words, network):
    with pytest.raises(error, match=words):
        fb.quantize(network, given)


def test_what_cannot_be_in_int8_is_refused(quantized, network, tmp_path):
    with pytest.raises(TypeError, match="`model` is quantized already"):
        fb.quantize(quantized, images(1))
    with pytest.raises(ValueError, match="`model` must be what `quantize` returns for int8"):
        fb.export(network, tmp_path / "model.onnx", dtype="int8")
    with pytest.raises(ValueError, match=r"`dtype` must be float32 or .*, got 'int8'"):
        fb.export(quantized, tmp_path / "model.pt2")
