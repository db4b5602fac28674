"""timm's and torchvision's random operations: each the same pixels, of the same magnitudes."""

import random
from typing import Any

import numpy as np
import pytest
from PIL import Image
from timm.data import auto_augment
from timm.data.transforms_factory import create_transform
from torchvision.transforms import AutoAugment, InterpolationMode, TrivialAugmentWide
from torchvision.transforms import RandAugment as TheirRandAugment
from torchvision.transforms import autoaugment as theirs

from flaxblocks.train.data.autoaugment import (
    IMAGENET,
    LEVELS,
    RANDOM,
    RandAugment,
    autoaugment,
    magnitude_of,
)
from flaxblocks.train.data.image_operations import DIRECTED, UNDIRECTED, apply_operation
from flaxblocks.train.data.timm_randaugment import COLOR, OPERATIONS, STRONGEST, TimmRandAugment
from flaxblocks.train.data.trivialaugment import BINS, MAGNITUDES, NAMES, trivialaugment

auto: Any = auto_augment
apply_theirs: Any = theirs._apply_op
IMAGE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8), "RGB"
).resize((24, 20), Image.Resampling.BILINEAR, box=(0, 0, 12, 10))


def same(ours: Image.Image, other: Image.Image) -> bool:
    return ours.tobytes() == other.tobytes()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("increasing", [False, True])
def test_each_operation_is_timms(increasing: bool, sign: int, monkeypatch):
    names = auto._RAND_INCREASING_TRANSFORMS if increasing else auto._RAND_TRANSFORMS
    monkeypatch.setattr(random, "random", lambda: 0.9 if sign < 0 else 0.1)
    hparams = {"img_mean": COLOR, "interpolation": Image.Resampling.BICUBIC}
    ours = TimmRandAugment(increasing=increasing)
    for name, their_name in zip(OPERATIONS, names, strict=True):
        for magnitude in (0, 1, 4.3, 7, 10):
            operation = auto.AugmentOp(their_name, prob=1.0, magnitude=magnitude, hparams=hparams)
            got = ours.apply(IMAGE, name, magnitude / 10, sign, "bicubic")
            if name == "posterize" and int(0.4 * magnitude) == (4 if increasing else 0):
                assert not np.asarray(got).any()  # no bits are left, which Pillow 13 refuses
                continue
            assert same(got, operation(IMAGE)), (name, magnitude)


@pytest.mark.parametrize(
    "text", ["rand-m9-n3", "rand-m7-mstd0.5-inc1", "rand-m6-n1-p0.3", "rand-m9-mstd0.5-inc1"]
)
def test_a_text_means_what_it_means_in_timm(text: str):
    ours = TimmRandAugment.named(text)
    assert ours is not None
    transform: Any = create_transform(32, is_training=True, auto_augment=text)
    (found,) = [t for t in transform.transforms if isinstance(t, auto.RandAugment)]
    assert (ours.operations, len(OPERATIONS)) == (found.num_layers, len(found.ops))
    for operation in found.ops:
        assert operation.magnitude == ours.magnitude
        assert operation.magnitude_std == ours.deviation
        assert operation.prob == ours.probability
        assert operation.kwargs["fillcolor"] == COLOR
    assert any("Increasing" in operation.name for operation in found.ops) == ours.increasing


@pytest.mark.parametrize("text", ["rand", "rand-n2", "rand-m9-x3", "augmix-m3", "rand-m9-m3"])
def test_another_text_means_nothing(text: str):
    assert TimmRandAugment.named(text) is None


def test_what_is_drawn_differs_from_image_to_image():
    augment = TimmRandAugment(9, deviation=0.5)
    rng = np.random.default_rng(0)
    drawn = {augment(IMAGE, rng).tobytes() for _ in range(40)}
    assert 15 < len(drawn) < 40  # a quarter of the pairs leave the image as it is
    assert STRONGEST == auto._LEVEL_DENOM


def test_trivialaugment_has_torchvisions_magnitudes():
    space = TrivialAugmentWide()._augmentation_space(BINS)
    assert set(space) == set(NAMES)
    for name, (magnitudes, signed) in space.items():
        expected = np.atleast_1d(magnitudes.numpy())
        np.testing.assert_allclose(MAGNITUDES[name], expected, rtol=1e-6, atol=1e-6)
        assert signed == (name in DIRECTED)


@pytest.mark.parametrize(("kind", "bins"), [(AutoAugment, LEVELS + 1), (TheirRandAugment, 31)])
def test_the_papers_magnitudes_are_torchvisions(kind: Any, bins: int):
    size = (24, 20)
    space = kind()._augmentation_space(bins, size[::-1])
    assert set(space) - {"Invert"} | {"Identity"} == set(RANDOM)
    for name, (magnitudes, signed) in space.items():
        ours = [magnitude_of(name, bin / (bins - 1), size) for bin in range(bins)]
        expected = np.broadcast_to(magnitudes.numpy(), bins)
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-4)
        assert signed == (name in DIRECTED)


def test_the_pairs_are_torchvisions():
    pairs = AutoAugment().policies
    expected = [[(name, p, level or 0) for name, p, level in pair] for pair in pairs]
    assert [list(pair) for pair in IMAGENET] == expected


def test_signed_operations_go_either_way():
    rng = np.random.default_rng(0)
    drawn = {RandAugment(1, 20)(IMAGE, rng).tobytes() for _ in range(200)}
    assert len(drawn) == len(RANDOM) + len(DIRECTED)
    assert len({autoaugment(IMAGE, rng).tobytes() for _ in range(60)}) > 20


@pytest.mark.parametrize("name", [*DIRECTED, *UNDIRECTED])
def test_each_operation_is_torchvisions(name: str):
    strengths = (0.0, 0.25, 1.0)
    magnitudes = [magnitude_of(name, strength, IMAGE.size) for strength in strengths]
    widest = float(MAGNITUDES.get(name, np.zeros(1))[-1])
    for value in (*magnitudes, *(-m for m in magnitudes if name in DIRECTED), widest):
        got = apply_operation(IMAGE, name, value)
        expected = apply_theirs(IMAGE, name, value, InterpolationMode.BILINEAR, fill=None)
        off = np.abs(np.asarray(got, int) - np.asarray(expected, int))
        # Their matrix is an inverse whose entries round: a few pixels fall to the next number.
        assert (off > 0).mean() <= 0.02 and off.max() <= 1, value


def test_trivialaugment_draws_one_of_its_operations():
    rng = np.random.default_rng(0)
    drawn = {trivialaugment(IMAGE, rng).tobytes() for _ in range(60)}
    assert len(drawn) > 20
