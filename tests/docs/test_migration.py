"""docs/migration.md: both sides of each row are evaluated, and give the same."""

import os
import re
from functools import partial
from pathlib import Path

import jax

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
import pytest
import timm
import torch
import torchvision
from flax import linen, nnx

import flaxblocks as fb

PAGE = Path(__file__).parents[2] / "docs" / "migration.md"
ROWS = re.findall(r"^\| `(.*)` \| `(.*)` \|$", PAGE.read_text(), re.MULTILINE)
LIBRARIES = {
    "timm": timm,
    "torch": torch,
    "torchvision": torchvision,
    "linen": linen,
    "keras": keras,
    "fb": fb,
    "nnx": nnx,
    "partial": partial,
}
IMAGES, WIDE = (2, 64, 64, 3), (2, 8, 8, 32)


def plain(value, model=None):
    """Return what two libraries' values have in common: shapes, counts, names, numbers."""
    if value is None:  # a method that changes the model
        return plain(model)
    if isinstance(value, torch.Tensor):
        shape = tuple(value.shape)
        return (shape[0], *shape[2:], shape[1]) if value.ndim == 4 else shape
    if isinstance(value, jax.Array):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {name: tuple(np.shape(array)) for name, array in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, torch.nn.Module):
        return module(sum(p.numel() for p in value.parameters()), training=value.training)
    if isinstance(value, nnx.Module):
        params = jax.tree.leaves(nnx.state(value, nnx.Param))
        switches = [getattr(m, "use_running_average", None) for _, m in nnx.iter_modules(value)]
        return module(sum(p.size for p in params), training=True not in switches)
    if isinstance(value, linen.Module):
        made = jax.eval_shape(value.init, jax.random.key(0), np.ones(WIDE, np.float32))
        return module(sum(p.size for p in jax.tree.leaves(made["params"])))
    if isinstance(value, keras.layers.Layer):
        jax.eval_shape(lambda: value.build(WIDE))
        return module(sum(int(np.prod(weight.shape)) for weight in value.trainable_weights))
    return value.removeprefix("timm/") if isinstance(value, str) else value


def module(parameters: int, *, training: bool = True) -> tuple[str, int, bool]:
    return "module", parameters, training


@pytest.fixture(scope="module")
def abstract():
    return nnx.eval_shape(lambda: fb.create_model("timm/resnet18", rngs=nnx.Rngs(0)))


def evaluated_theirs(code: str):
    """Evaluate on PyTorch's device without arrays, but for Linen, Keras and a model's weights."""
    nchw = code.startswith(("timm", "torch", "model"))
    with torch.device("cpu" if "state_dict" in code else "meta"):
        shape = (2, 3, 64, 64) if nchw else IMAGES
        has_model = re.search(r"\bmodel\b", code) is not None
        model = timm.create_model("resnet18") if has_model else None
        names = {
            "x": torch.zeros(shape) if nchw else jax.numpy.zeros(shape),
            "x32": torch.zeros(2, 32, 8, 8),
            "model": model,
            "state_dict": model.state_dict() if model is not None else None,
        }
        value = eval(code, LIBRARIES | names)
        return plain(None if "load_state_dict" in code else value, model)


def evaluated_ours(code: str, model: nnx.Module):
    """Evaluate without computing anything."""
    graphdef, state = nnx.split(model)
    if "state_dict" in code:
        state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)
        model = nnx.merge(graphdef, state)
        given = fb.state_dict(model, names="timm")
        return plain(eval(code, LIBRARIES | {"model": model, "state_dict": given}), model)
    result = []

    def run(state, x, x32):
        names = {"rngs": nnx.Rngs(0), "x": x, "x32": x32, "model": nnx.merge(graphdef, state)}
        result.append(plain(eval(code, LIBRARIES | names), names["model"]))

    jax.eval_shape(run, state, *(jax.ShapeDtypeStruct(s, "float32") for s in (IMAGES, WIDE)))
    return result[0]


MAKING = [row for row in ROWS if "create_model" in row[1]]
CASES = [
    pytest.param(*row, id=row[0][:60], marks=[pytest.mark.slow] if row in MAKING[1:] else [])
    for row in ROWS
]


@pytest.mark.parametrize(("theirs", "ours"), CASES)
def test_both_sides_give_the_same(theirs, ours, abstract):
    assert evaluated_ours(ours, abstract) == evaluated_theirs(theirs)


def test_every_row_of_a_table_is_one_of_these():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(lines) == len(ROWS)
