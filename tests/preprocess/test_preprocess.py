"""Images as torchvision and timm prepare them, to the last bit, and images that are odd."""

import io
import sys
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from timm import get_pretrained_cfg
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torchvision.models import get_model_weights
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import InterpolationMode

import flaxblocks as fb
from flaxblocks.preprocess.photo import rgb
from parity.photo import SAMPLE
from tests.helpers.typed import present


def as_torch(y: Any) -> np.ndarray:
    return np.asarray(y).transpose(1, 2, 0)[None]


def photo() -> Image.Image:
    with Image.open(SAMPLE) as image:
        return image.convert("RGB")


def tall() -> Image.Image:
    return photo().transpose(Image.Transpose.ROTATE_90).crop((10, 0, 111, 600))


SHAPES = {
    "the photograph": photo,
    "tall": tall,
    "square": lambda: photo().crop((0, 0, 301, 301)),
    "tiny": lambda: photo().resize((5, 3)),
    "one pixel": lambda: photo().crop((0, 0, 1, 1)),
}


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("resize", [232, 225])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_pixels_are_torchvisions(
    make, resize: int, interpolation: Literal["bilinear", "bicubic"]
):
    theirs = ImageClassification(
        crop_size=224, resize_size=resize, interpolation=InterpolationMode(interpolation)
    )
    ours = fb.Preprocess(resize, 224, interpolation)
    image = make()
    assert np.array_equal(ours(image), as_torch(theirs(image)))


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_v2_l", "efficientnet_b4"])
def test_a_file_gives_torchvisions_pixels(name: str):
    truth = get_model_weights(name)["DEFAULT"].transforms()(photo())
    y = fb.create_preprocess(name)(SAMPLE)
    assert y.dtype == np.float32
    assert np.array_equal(y, as_torch(truth))


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b5", "tf_mobilenetv3_large_100"])
def test_the_pixels_are_timms(make, name: str):
    config = present(get_pretrained_cfg(name)).to_dict()
    theirs = create_transform(**resolve_data_config(pretrained_cfg=config))
    assert not isinstance(theirs, tuple)
    image = make()
    assert np.array_equal(fb.create_preprocess(f"timm/{name}")(image), as_torch(theirs(image)))


def test_several_images_are_one_batch(tmp_path):
    photo().save(tmp_path / "photo.png")
    preprocess = fb.Preprocess(64, 32)
    batch = preprocess(tall(), str(tmp_path / "photo.png"), SAMPLE)
    assert batch.shape == (3, 32, 32, 3)
    assert np.array_equal(batch[1:2], preprocess(photo()))


def same(image: Image.Image, expected: Image.Image) -> bool:
    preprocess = fb.Preprocess(24, 24)
    return np.array_equal(preprocess(image), preprocess(expected))


def reread(image: Image.Image, kind: str, **options) -> Image.Image:
    """Return the image as it comes out of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer)


def small() -> Image.Image:
    return photo().resize((48, 40))


def test_an_exif_orientation_is_followed():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    turned = reread(small(), "PNG", exif=exif)
    assert same(turned, small().transpose(Image.Transpose.ROTATE_270))


def test_transparency_is_white():
    image = small().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert same(reread(image, "PNG"), Image.new("RGB", image.size, "white"))
    image.putalpha(Image.new("L", image.size, 255))
    assert same(reread(image, "PNG"), small())


def test_transparency_of_a_palette_is_white():
    image = Image.new("P", (48, 40), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert same(reread(image, "PNG", transparency=1), Image.new("RGB", image.size, "white"))
    assert same(reread(image, "PNG", transparency=0), Image.new("RGB", image.size, "red"))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LA"])
def test_other_color_spaces_become_rgb(mode: str):
    image = small().convert(mode)
    assert same(image, image.convert("RGB"))


def test_a_cmyk_jpeg_keeps_its_colors():
    red = reread(Image.new("RGB", (48, 40), "red").convert("CMYK"), "JPEG")
    assert red.mode == "CMYK"
    assert np.abs(fb.Preprocess(24, 24)(red) - fb.Preprocess(24, 24)(red.convert("RGB"))).max() == 0
    assert fb.Preprocess(24, 24, mean=(0, 0, 0), std=(1, 1, 1))(red)[0, 0, 0, 0] > 0.9


def test_16_bit_greys_that_are_transparent_become_white():
    gray = Image.fromarray(np.full((2, 3), 257, np.uint16))
    gray.putpixel((1, 0), 0)
    content = io.BytesIO()
    gray.save(content, "png", transparency=0)
    pixels = np.asarray(rgb(Image.open(content)))
    assert pixels[0, 1].tolist() == [255, 255, 255]
    assert (np.delete(pixels.reshape(6, 3), 1, 0) == 1).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_greys_keep_their_shades(kind: str):
    grey = np.asarray(small().convert("L"))
    deep = reread(Image.fromarray(grey.astype(np.uint16) * 257), kind)
    assert deep.mode.startswith("I;16")
    assert same(deep, small().convert("L"))


def test_an_animation_is_its_first_frame():
    frames = [Image.new("RGB", (48, 40), color) for color in ("red", "blue")]
    assert same(reread(frames[0], "GIF", save_all=True, append_images=frames[1:]), frames[0])


@pytest.fixture
def bad_files(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    whole = SAMPLE.read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    photo().save(tmp_path / "photo.png")
    png = bytearray((tmp_path / "photo.png").read_bytes())
    png[100:200] = bytes(100)
    (tmp_path / "damaged.png").write_bytes(png)
    Image.new("F", (4, 4)).save(tmp_path / "floats.tiff")
    Image.new("RGB", (1, 4000)).save(tmp_path / "thread.png")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("notes.txt", ValueError, "must be image files, and .*notes.txt is not one"),
        ("empty.jpg", ValueError, "must be image files, and .*empty.jpg is not one"),
        ("half.jpg", ValueError, "half.jpg cannot be read: .*truncated"),
        ("damaged.png", ValueError, "damaged.png cannot be read: "),
        ("floats.tiff", ValueError, "floats.tiff cannot be read: the range of its colors"),
        ("thread.png", ValueError, "elongated: 1 x 4000 .* 896000 x 224, .*thread.png"),
        ("no.jpg", FileNotFoundError, "there is no file .*no.jpg"),
        (".", ValueError, "cannot be read: Is a directory"),
    ],
)
def test_what_is_no_image_is_refused(bad_files, name: str, error: type, message: str):
    with pytest.raises(error, match=message):
        fb.Preprocess(224, 224)(bad_files / name)


def test_an_enormous_image_is_refused(tmp_path, monkeypatch):
    photo().save(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"cannot be read: .*exceeds"):
        fb.Preprocess(64, 64)(tmp_path / "photo.png")


def test_what_is_neither_a_path_nor_an_image_is_refused():
    with pytest.raises(TypeError, match=r"paths or Pillow images.*fromarray makes one"):
        fb.Preprocess(64, 64)(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(TypeError, match="paths or Pillow images"):
        fb.Preprocess(64, 64)(None)
    with pytest.raises(ValueError, match="`images` must be one or more"):
        fb.Preprocess(64, 64)()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resize": 0}, "`resize` must be a positive integer"),
        ({"crop": 65}, "`crop` must be at most `resize`, 64, got 65"),
        ({"interpolation": "nearest"}, "`interpolation` must be 'bilinear' or 'bicubic'"),
        ({"mean": (0.5, 0.5)}, "`mean` must be three numbers, or one for gray"),
        ({"std": (1, 1, 0)}, "`std` must be as many numbers above 0 as `mean`, 3"),
    ],
)
def test_bad_numbers_are_refused(arguments: dict, message: str, as_installed):
    with pytest.raises(ValueError, match=message):
        fb.Preprocess(**{"resize": 64, "crop": 64, **arguments})


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"`name` must be one of .* 'resnet5'; .*resnet50"):
        fb.create_preprocess("resnet5")
    with pytest.raises(ValueError, match=r"`weights` of resnet18 must be IMAGENET1K_V1, got 'V2'"):
        fb.create_preprocess("resnet18", "V2")


def test_another_size_keeps_the_proportions():
    assert fb.Preprocess(256, 224, "bicubic").at_size(112) == fb.Preprocess(128, 112, "bicubic")


@pytest.mark.parametrize("change", [{"crop_mode": "border"}, {"input_size": (3, 224, 192)}])
def test_what_timm_alone_can_do_is_refused(change: dict):
    config = present(get_pretrained_cfg("resnet50")).to_dict() | change
    with pytest.raises(ValueError, match="square image, cropped or squashed"):
        fb.Preprocess.from_timm(config)


def test_without_pillow_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "flaxblocks.preprocess.photo", raising=False)
    monkeypatch.delattr("flaxblocks.preprocess.photo", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'flaxblocks\[image\]'"):
        fb.Preprocess(64, 64)("photo.jpg")
