"""Parts of images, read at the size at which they are needed."""

from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image

from flaxblocks.preprocess import partial, photo

METHOD = Image.Resampling.BILINEAR


@pytest.fixture(scope="module")
def smooth() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)  # pyright: ignore[reportArgumentType]
    return out.getvalue()


@pytest.mark.parametrize(
    ("box", "size", "decoded"),
    [
        ((0, 0, 640, 480), 32, (80, 60)),
        ((100, 80, 400, 380), 64, (160, 120)),
        ((100, 80, 200, 180), 96, (640, 480)),  # no pixel may be left out
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_it_must_be(smooth, box, size, decoded):
    content = file_of(smooth, "JPEG", quality=95)
    image, whole = partial.opened(content), photo.rgb(partial.opened(content))
    got = partial.resized(partial.ready(image), box, size, METHOD)
    assert image.size == decoded
    expected = whole.resize((size, size), METHOD, box=box)
    off = np.abs(np.asarray(got, int) - np.asarray(expected, int))
    assert off.mean() < 1.5  # of 255


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "RGB"])
def test_every_mode_becomes_rgb(smooth, mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    content = file_of(smooth.convert(mode), kind)
    got = partial.resized(partial.ready(partial.opened(content)), (8, 8, 72, 72), 32, METHOD)
    expected = photo.rgb(Image.open(BytesIO(content))).resize((32, 32), METHOD, box=(8, 8, 72, 72))
    assert got.mode == "RGB"
    assert np.abs(np.asarray(got, int) - np.asarray(expected, int)).max() <= 1


def test_a_turned_image_is_upright_first(smooth):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    ready = partial.ready(partial.opened(file_of(smooth, "JPEG", exif=exif)))
    assert ready.size == (480, 640)


def test_nothing_is_copied_where_nothing_changes(smooth):
    assert photo.rgb(smooth) is smooth
    assert partial.ready(smooth) is smooth
