"""Modules to export, with weights and statistics that show each part, and photographs."""

from collections import Counter
from functools import cache, partial
from pathlib import Path

import numpy as np
from flax import nnx
from PIL import Image

import flaxblocks as fb
from flaxblocks._base.module_spec import Spec
from flaxblocks._base.random_weights import random_tensor
from flaxblocks.exporting.formats import FORMATS
from flaxblocks.layers.initializers import Initialization
from flaxblocks.models.architecture import Architecture, StageRow
from flaxblocks.weights.state_dict import named_entries
from parity.cases import SEED_CASES

FORMAT_NAMES = tuple(name for name in FORMATS if name != "litert")
"""LiteRT's converter needs an environment of its own, see `test_litert`."""

CHANNELS = 8


SMALL = "small"
SIZE = 32
PREPROCESS = fb.Preprocess(resize=36, crop=SIZE)
SMALL_RECORD = fb.ModelRecord(
    SMALL,
    Architecture(
        stem=partial(fb.Stem, features=(8,)),
        stages=(
            StageRow(8, 2, (partial(fb.FusedMBConv, expansion=2),)),
            StageRow(
                12,
                2,
                (partial(fb.MBConv, act=fb.activations.hard_swish, se=fb.SqueezeExcite),),
            ),
        ),
        head=fb.Head,
        initialization=Initialization(),
    ),
    preprocess=PREPROCESS,
)
"""A network of one's own, which compiles fast."""


def suffix(format: str) -> str:
    """Return how files of a format end."""
    return FORMATS[format].suffixes[0]


def operators(path: Path) -> Counter[str]:
    """Return how many nodes of each kind an ONNX file has."""
    import onnx

    return Counter(node.op_type for node in onnx.load(path).graph.node)


def randomized(model: nnx.Module, seed: int = 0) -> nnx.Module:
    """Draw every weight and statistic of a model, abstract or not, in place, and return it.

    Args:
        model: the model.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    entries = named_entries(model, "native")
    drawn = {name: random_tensor(name, entry.shape, rng) for name, entry in entries.items()}
    fb.load_state_dict(model, drawn)
    return model


class Column(nnx.Module):
    """Every block of the tutorial, one after the other."""

    def __init__(self):
        specs = (
            Spec(case.spec.name, tuple(_narrow(argument) for argument in case.spec.args))
            for case in SEED_CASES
        )
        self.blocks = nnx.List([spec.build(fb, rngs=nnx.Rngs(0)) for spec in specs])

    def __call__(self, x):
        for block in self.blocks:
            x = block(x) / 4  # else the sums of 11 blocks in a row become large
        return x


def _narrow(argument):
    if isinstance(argument, Spec):
        return Spec(argument.name, (CHANNELS, CHANNELS))
    return CHANNELS


@cache
def crops(count: int, size: int) -> np.ndarray:
    """Return crops of two photographs, some of them mirrored, as bytes ``(n, size, size, 3)``."""
    from sklearn.datasets import load_sample_image

    rng, images = np.random.default_rng(0), []
    photos = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    for number in range(count):
        photo = photos[number % 2]
        side = int(rng.integers(200, 420))
        top, left = (int(rng.integers(0, length - side)) for length in photo.shape[:2])
        crop = photo[top : top + side, left : left + side, :: rng.choice((-1, 1))]
        images.append(np.asarray(Image.fromarray(crop).resize((size, size))))
    return np.stack(images)


def normalized_crops(preprocess: fb.Preprocess, count: int, size: int) -> np.ndarray:
    """Return crops as a network with such a preprocessing takes them."""
    mean, std = (np.asarray(color, np.float32) for color in (preprocess.mean, preprocess.std))
    return (crops(count, size) / np.float32(255) - mean) / std
