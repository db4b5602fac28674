"""Every format: the file is the same function, tells about itself, and refuses what it must."""

import dataclasses
import logging
import re
import zipfile
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.blocks.dense_head import FCNHead
from flaxblocks.cli import main
from flaxblocks.exporting.formats import FORMATS
from flaxblocks.models.segmenter import Segmentation
from parity.cases import CASES
from tests.helpers.exported import (
    CHANNELS,
    FORMAT_NAMES,
    PREPROCESS,
    SIZE,
    SMALL,
    SMALL_RECORD,
    Column,
    crops,
    randomized,
    suffix,
)
from tests.helpers.typed import present


@pytest.mark.parametrize(
    "format",
    [pytest.param(name, marks=() if name == "onnx" else pytest.mark.slow) for name in FORMAT_NAMES],
)
def test_the_blocks_of_the_tutorial_are_the_same_functions(format: str, tmp_path):
    model, path = randomized(Column()), tmp_path / f"column{suffix(format)}"
    fb.export(model, path, input_size=(13, 11), batch=2, in_features=CHANNELS)
    x = np.random.default_rng(0).normal(size=(2, 13, 11, CHANNELS)).astype(np.float32)
    found = fb.verify_exported(model, path, x)
    assert found.ok, found
    assert np.unique(fb.load_exported(path)(x)).size > 100


class Padded(nnx.Module):
    """Pads unevenly, as HGNet's stem does, and with another number than zero."""

    def __init__(self):
        self.conv = fb.Conv(CHANNELS, 6, 3, rngs=nnx.Rngs(0))

    def __call__(self, x):
        x = self.conv(jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0))))
        return jnp.pad(x, ((0, 0), (2, 0), (0, 0), (0, 0)), constant_values=0.5).sum((1, 2))


@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_padding_stands_as_it_is(format: str, tmp_path):
    model, path = Padded(), tmp_path / f"padded{suffix(format)}"
    fb.export(model, path, input_size=(7, 5), in_features=CHANNELS)
    x = np.random.default_rng(0).normal(size=(2, 7, 5, CHANNELS)).astype(np.float32)
    found = fb.verify_exported(model, path, x)
    assert found.ok, found


@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_a_network_takes_bytes_and_says_what_it_is(format: str, network, tmp_path):
    path = tmp_path / "model"
    classes = tuple("abcdefg")
    fb.export(network, path, format=format, input_size=SIZE, classes=classes, prepare_images=True)

    exported = fb.load_exported(path, format=format)

    images = crops(3, SIZE)
    assert fb.verify_exported(network, path, images, format=format).ok
    probabilities = exported(images)
    assert probabilities.shape == (3, 7)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert exported.classes == classes
    assert exported.preprocess == PREPROCESS
    assert exported.description.name == SMALL
    with pytest.raises(TypeError, match="must be uint8, got float32"):
        exported(np.zeros((1, SIZE, SIZE, 3), np.float32))
    with pytest.raises(ValueError, match=r"shape \(n, 32, 32, 3\), got \(1, 24, 32, 3\)"):
        exported(np.zeros((1, 24, SIZE, 3), np.uint8))


@pytest.mark.parametrize(
    "format",
    [pytest.param(name, marks=() if name == "onnx" else pytest.mark.slow) for name in FORMAT_NAMES],
)
def test_of_a_segmentation_network_the_own_head_is_exported(format: str, tmp_path):
    small = SMALL_RECORD.architecture
    architecture = Segmentation(
        stem=small.stem,
        stages=small.stages,
        head=FCNHead,
        initialization=small.initialization,
        auxiliary=((0, FCNHead),),
    )
    fb.register_model(dataclasses.replace(SMALL_RECORD, name="pixels", architecture=architecture))
    network = randomized(fb.create_model("pixels", num_classes=5, rngs=nnx.Rngs(0)))
    path = tmp_path / f"model{suffix(format)}"
    fb.export(network, path, input_size=SIZE)
    images = np.random.default_rng(0).normal(size=(2, SIZE, SIZE, 3)).astype(np.float32)
    assert fb.load_exported(path)(images).shape == (2, SIZE, SIZE, 5)
    assert fb.verify_exported(network, path, images).ok


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_each_block_is_the_same_function(format: str, case, tmp_path):
    model, path = randomized(case.build_flax()), tmp_path / f"block{suffix(format)}"
    n, height, width, channels = case.shape
    fb.export(model, path, input_size=(height, width), batch=n, in_features=channels)
    x = np.random.default_rng(0).normal(size=case.shape).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "dtype"),
    [(n, dtype) for n in FORMAT_NAMES for dtype in FORMATS[n].dtypes if "float16" in dtype],
)
def test_half_precision_differs_by_its_rounding(format: str, dtype: str, network, tmp_path):
    path = tmp_path / f"model{suffix(format)}"
    fb.export(network, path, input_size=SIZE, dtype=dtype)
    images = (crops(4, SIZE) / np.float32(255) - np.float32(0.45)) / np.float32(0.22)
    found = fb.verify_exported(network, path, images)
    assert found.ok and found.difference > 1e-5, found


@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_a_file_may_be_called_anything(format: str, network, tmp_path, caplog, capfd):
    path = fb.export(network, tmp_path / "model.of_mine", format=format, input_size=SIZE, batch=1)
    assert fb.load_exported(path, format=format)(np.zeros((1, SIZE, SIZE, 3), np.float32)).size
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert capfd.readouterr() == ("", "")


def test_another_function_is_found_out(network, tmp_path):
    path = tmp_path / "model.stablehlo"
    fb.export(network, path, input_size=SIZE, batch=1)
    other = randomized(fb.create_model(SMALL, num_classes=7, rngs=nnx.Rngs(0)), seed=1)
    found = fb.verify_exported(other, path, fb.Preprocess(SIZE, SIZE)(*photos(2)))
    assert not found.ok and found.difference > 0.01
    nothing = dataclasses.replace(found, difference=float("nan"))
    assert not nothing.ok


@pytest.mark.parametrize("size", [40, (40, 40), (40, 48)])
def test_the_preprocessing_is_that_of_the_size(size, network, tmp_path):
    exported = fb.load_exported(fb.export(network, tmp_path / "model.onnx", input_size=size))
    preprocess = present(exported.preprocess)
    if size == (40, 48):  # a crop is square
        assert preprocess == PREPROCESS
    else:
        assert (preprocess.crop, preprocess.resize) == (40, 45)
        assert exported(preprocess(*photos(1))).shape == (1, 7)


def photos(count: int) -> list:
    from PIL import Image

    return [Image.fromarray(crop) for crop in crops(count, SIZE)]


def test_stablehlo_is_for_each_platform_and_size_and_calls_nothing(network, tmp_path):
    path = tmp_path / "model.stablehlo"
    fb.export(network, path, input_size="dynamic")
    exported = fb.load_exported(path)
    assert exported.description.input_shape == ("n", "h", "w", 3)
    small, large = (
        np.zeros((n, size, size + 5, 3), np.float32) for n, size in ((1, 33), (2, SIZE))
    )
    assert exported(small).shape == (1, 7) and exported(large).shape == (2, 7)
    with pytest.raises(ValueError, match="at least 32 pixels a side, got 8 x 40"):
        exported(np.zeros((1, 8, 40, 3), np.float32))
    run: Any = exported.run
    program = run.program
    assert program.platforms == ("cpu", "cuda", "tpu")
    calls = re.findall(r"custom_call @(\w+)", program.mlir_module())
    assert set(calls) == {"shape_assertion"}
    with zipfile.ZipFile(path) as file:  # equal models make equal files, whatever the hour
        assert {part.date_time for part in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_command_checks_what_it_wrote(network, tmp_path, capsys):
    weights, out = tmp_path / "weights.safetensors", tmp_path / "model.stablehlo"
    fb.save_weights(network, weights)
    command = ["export", "--model", SMALL, "--weights", str(weights), "--input-size", "40"]
    command += ["--out", str(out), "--batch", "4"]
    assert main(command) == 0
    assert "jax.export" in (text := capsys.readouterr().out) and "equal" in text
    assert present(fb.load_exported(out).preprocess).crop == 40
    assert main([*command, "--to", "stablhlo"]) == 2
    assert "`--to` must be one of" in (error := capsys.readouterr().err) and "stablehlo" in error
    assert main([*command, "--any-size", "--to", "onnx"]) == 2
    assert "`--any-size` is for `--to stablehlo`" in capsys.readouterr().err
