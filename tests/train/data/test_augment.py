"""What is done to training images at random."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from flaxblocks.preprocess.transform import MEAN, STD
from flaxblocks.train.data import (
    CENTER_CROP,
    Augment,
    ColorJitter,
    RandAugment,
    RandomCrop,
    RandomErasing,
    autoaugment,
    flip,
)
from flaxblocks.train.data.augment import draw_rectangle
from flaxblocks.train.data.autoaugment import IMAGENET, RANDOM, magnitude_of
from flaxblocks.train.data.image_operations import DIRECTED, UNDIRECTED, apply_operation
from flaxblocks.train.run.recipes import RECIPES


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """An image whose red tells the column and whose green tells the row; its blue has edges."""
    rows, columns = np.mgrid[:40, :60]
    pixels = np.stack([4 * columns, 6 * rows, 60 * (rows // 5 % 2)], -1).astype(np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


AUGMENTATIONS = {
    "crop": Augment(16, RandomCrop()),
    "flip": Augment(16, CENTER_CROP, (flip,)),
    "jitter": Augment(16, CENTER_CROP, (ColorJitter(),)),
    "autoaugment": Augment(16, CENTER_CROP, (autoaugment,)),
    "randaugment": Augment(16, CENTER_CROP, (RandAugment(),)),
    "erasing": Augment(16, CENTER_CROP, (RandomErasing(),)),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_same_draws_give_the_same_image(photo, name):
    augment = AUGMENTATIONS[name]
    several = [augment(photo, np.random.default_rng(seed)) for seed in range(40)]
    assert all(image.shape == (16, 16, 3) and image.dtype == np.uint8 for image in several)
    assert np.array_equal(several[7], augment(photo, np.random.default_rng(7)))
    assert len({image.tobytes() for image in several}) > 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_its_augmentations(photo, recipe, rng):
    augment = Augment(8, RECIPES[recipe].crop, RECIPES[recipe].augmentations)
    assert augment(photo, rng).shape == (8, 8, 3)


def test_the_parts_of_random_crops_are_as_asked(rng):
    parts = np.array([draw_rectangle(10**6, (0.08, 1.0), (3 / 4, 4 / 3), rng) for _ in range(4000)])
    area, aspect = parts.prod(1) / 10**6, parts[:, 0] / parts[:, 1]
    assert 0.079 < area.min() < 0.09 and 0.98 < area.max() < 1.001
    assert area.mean() == pytest.approx(0.54, abs=0.02)
    assert 0.74 < aspect.min() < 0.76 and 1.32 < aspect.max() < 1.35
    assert np.log(aspect).mean() == pytest.approx(0, abs=0.01)


def test_a_random_crop_shows_a_part(photo, rng):
    for _ in range(50):
        part = np.asarray(RandomCrop()(photo, 10, rng)).astype(int)
        assert (np.diff(part[:, :, 0], axis=1) >= 0).all()
        assert (np.diff(part[:, :, 1], axis=0) >= 0).all()


def test_what_fits_nowhere_is_the_center(photo, rng):
    assert np.array_equal(CENTER_CROP(photo, 40, rng), photo.crop((10, 0, 50, 40)))


def test_half_of_the_images_are_mirrored(photo, rng):
    mirrored = np.asarray(photo)[:, ::-1]
    count = sum(np.array_equal(flip(photo, rng), mirrored) for _ in range(400))
    assert 160 < count < 240


def test_jitter_of_one_kind_is_that_enhancement(photo):
    jitter = ColorJitter(brightness=0.4, contrast=0, saturation=0)
    factor = np.random.default_rng(3).uniform(0.6, 1.4)
    expected = ImageEnhance.Brightness(photo).enhance(factor)
    assert np.array_equal(jitter(photo, np.random.default_rng(3)), np.asarray(expected))


def test_hue_shifts_around_the_color_circle(rng):
    red = Image.new("RGB", (2, 2), (200, 0, 0))
    jitter = ColorJitter(brightness=0, contrast=0, saturation=0, hue=0.5)
    seen = {jitter(red, rng).getpixel((0, 0)) for _ in range(50)}
    assert len(seen) > 20
    assert all(max(color) in range(199, 202) for color in seen)


@pytest.mark.parametrize("options", [{"brightness": 1.1}, {"hue": 0.6}, {"contrast": -0.1}])
def test_jitter_is_checked(options, as_installed):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must lie between 0 and"):
        ColorJitter(**options)


@pytest.mark.parametrize("name", [*DIRECTED, *UNDIRECTED])
def test_a_change_of_no_strength_changes_nothing_that_it_need_not(photo, name):
    got = apply_operation(photo, name, magnitude_of(name, 0.0, photo.size))
    same = np.array_equal(got, photo)
    assert same == (name not in ("AutoContrast", "Equalize", "Invert"))


def test_randaugment_draws_from_fourteen_operations(photo, rng):
    assert len(RANDOM) == 14
    assert np.array_equal(RandAugment(operations=1, magnitude=0)(photo, rng).size, photo.size)
    with pytest.raises(ValueError, match="`magnitude` must lie between 0 and 30, got 31"):
        RandAugment(magnitude=31)
    with pytest.raises(ValueError, match="`operations` must be a positive integer, got 0"):
        RandAugment(operations=0)


def test_autoaugment_has_the_papers_pairs(photo, rng):
    assert len(IMAGENET) == 25
    assert all(name in (*DIRECTED, *UNDIRECTED) for pair in IMAGENET for name, _, _ in pair)
    assert all(autoaugment(photo, rng).size == photo.size for _ in range(60))


def test_erasing_leaves_normal_noise(rng):
    image = Image.new("RGB", (200, 200), (1, 2, 3))
    erase = RandomErasing(probability=1.0, area=(0.2, 0.3))
    pixels = np.asarray(erase(image, rng))
    noise = pixels[(pixels != (1, 2, 3)).any(-1)] / 255
    assert 0.19 < len(noise) / 200**2 < 0.31
    assert noise.mean(0) == pytest.approx(MEAN, abs=0.02)
    assert noise.std(0) == pytest.approx(STD, abs=0.03)
    assert image.getcolors() == [(200 * 200, (1, 2, 3))]


def test_erasing_is_rare(photo, rng):
    assert 50 < sum(RandomErasing()(photo, rng) is not photo for _ in range(400)) < 150


def test_operations_are_done_in_order(photo, rng):
    def double(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return image.resize((2 * image.width, 2 * image.height))

    assert Augment(8, RandomCrop(), [double])(photo, rng).shape == (16, 16, 3)
