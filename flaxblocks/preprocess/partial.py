"""Reading a part of an image at the size at which it is needed, without decoding more."""

from io import BytesIO

from PIL import Image, JpegImagePlugin

from flaxblocks.preprocess import photo

Box = tuple[int, int, int, int]
"""Left, upper, right and lower edge, in pixels."""

AS_IT_IS = ("RGB", "L")
"""Modes of which a part can be resized before it becomes RGB."""


def opened(content: bytes) -> Image.Image:
    """Return an image whose pixels are decoded when they are needed.

    Args:
        content: what the file holds.

    Raises:
        PIL.UnidentifiedImageError: if it is no image.
    """
    return Image.open(BytesIO(content))


def ready(image: Image.Image) -> Image.Image:
    """Return an upright image in RGB or gray: the image itself, undecoded, where it is one."""
    plain = image.mode in AS_IT_IS and not image.has_transparency_data
    return image if plain and not photo.is_turned(image) else photo.rgb(image)


def resized(image: Image.Image, box: Box, size: int, method: Image.Resampling) -> Image.Image:
    """Return a part of an image as a square in RGB.

    Of a JPEG that is not decoded yet, its decoder gives an image that is smaller by a power of 2
    where that still has as many pixels as are needed: decoding takes most of the time.

    Args:
        image: from `ready`.
        box: the part.
        size: height and width of the result in pixels.
        method: how it is resampled.
    """
    width, height = image.size
    across, down = box[2] - box[0], box[3] - box[1]
    if isinstance(image, JpegImagePlugin.JpegImageFile) and image.tile:
        image.draft(None, (-(-width * size // across), -(-height * size // down)))
    x, y = image.width / width, image.height / height
    scaled = (box[0] * x, box[1] * y, box[2] * x, box[3] * y)
    part = image.resize((size, size), method, box=scaled)
    return part if part.mode == "RGB" else part.convert("RGB")
