# pyright: reportUnknownMemberType=false
"""The door: `quantize` shows a trained network images, and returns it in integers of 8 bits."""

from collections.abc import Iterable
from functools import partial
from typing import cast

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.exporting.prepare import Images, ready
from flaxblocks.exporting.program import program_of
from flaxblocks.exporting.quantization.quantized import Integers, Quantized, names_of, ranges_of
from flaxblocks.models import Backbone

BATCH = 32
"""Images at a time, of which every activation is in memory."""


def quantize(
    model: nnx.Module,
    calibration: Float[np.ndarray | Array, "n h w c"] | Iterable[np.ndarray | jax.Array],
) -> Quantized:
    """Return a trained model in integers of 8 bits, for inference only.

    Weights become int8, with a scale for each output channel; what goes into convolutions and
    products with matrices, and what comes out of them, uint8, with a scale and a zero for each
    array, from the least to the greatest number that the calibration's images give rise to. Batch
    normalizations are folded first. The result is simulated in JAX, with the integers that ONNX
    Runtime has of the same model after `export`.

    >>> model = fb.create_model("timm/test_resnet", num_classes=10, rngs=nnx.Rngs(0))
    >>> quantized = fb.quantize(model, np.ones((2, 64, 64, 3), np.float32))
    >>> quantized(np.ones((1, 64, 64, 3), np.float32)).shape
    (1, 10)

    Args:
        model: a network, or any module that maps images to an array; it is unchanged.
        calibration: images of the kind that the model will see, prepared for it, 100 or more;
            in one array, or several.

    Raises:
        TypeError: if the images are no arrays of float32.
        ValueError: if there are no images, the model takes no such images, is abstract, or has
            nothing to quantize.
    """
    if isinstance(model, Quantized):
        raise TypeError("`model` is quantized already")
    one = isinstance(calibration, np.ndarray | jax.Array)
    given = cast(list[jax.Array], [calibration] if one else list(calibration))
    batches = [images[i : i + BATCH] for images in given for i in range(0, len(images), BATCH)]
    if not batches:
        raise ValueError("`calibration` must be one image or more, got none")
    for images in batches:
        if images.ndim != 4 or images.dtype != np.float32:
            got = f"{images.dtype} of shape {images.shape}"
            raise TypeError(f"`calibration` must be float32 of shape (n, h, w, c), got {got}")
    function = ready(model, "float32")
    program = program_of(function, jax.ShapeDtypeStruct(batches[0].shape, np.float32))
    extents = cast(Images, jax.jit(partial(_extents, function)))
    found = np.stack([np.asarray(extents(images)) for images in batches])
    if not np.isfinite(found).all():
        raise ValueError("`calibration` makes `model` compute infinity or NaN")
    ranges = zip(found[..., 0].min(0).tolist(), found[..., 1].max(0).tolist(), strict=True)
    name = model.name if isinstance(model, Backbone) else None
    integers = Integers(function, names_of(program), tuple(ranges))
    return Quantized(integers, name, batches[0].shape[-1])


def _extents(function: Images, images: jax.Array) -> jax.Array:
    program = program_of(function, jax.ShapeDtypeStruct(images.shape, images.dtype))
    return ranges_of(program, images)
