"""LiteRT, in an environment that has its converter: `pip install 'flaxblocks[litert]'`."""

import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from tests.helpers.exported import CHANNELS, SIZE, Column, crops, randomized

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.mark.parametrize("batch", (2, "dynamic"))
def test_the_blocks_of_the_tutorial_are_the_same_functions(batch, tmp_path):
    model, path = randomized(Column()), tmp_path / "column.tflite"
    fb.export(model, path, input_size=(13, 11), batch=batch, in_features=CHANNELS)
    x = np.random.default_rng(0).normal(size=(3, 13, 11, CHANNELS)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok


def test_a_network_takes_bytes_and_says_what_it_is(network: nnx.Module, tmp_path):
    path, classes = tmp_path / "model.tflite", tuple("abcdefg")
    fb.export(network, path, input_size=SIZE, classes=classes, prepare_images=True)
    assert fb.verify_exported(network, path, crops(3, SIZE)).ok
    assert fb.load_exported(path).classes == classes


def test_a_file_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"model.tflite is damaged, or no exported LiteRT model"):
        fb.load_exported(path)
