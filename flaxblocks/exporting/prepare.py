# pyright: reportUnknownMemberType=false
"""A model becomes what is exported: a pure function of images, and the images' shape."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export as jax_export

from flaxblocks._base import checks
from flaxblocks._base.command_line import versions
from flaxblocks.exporting.activations import use_forward_activations
from flaxblocks.exporting.description import Description
from flaxblocks.exporting.quantization.quantized import Quantized
from flaxblocks.inference import for_inference
from flaxblocks.models import Backbone, model_info
from flaxblocks.preprocess import Preprocess

M = TypeVar("M", bound=nnx.Module)
Images = Callable[[jax.Array], jax.Array]
Batch = int | Literal["dynamic"]
Size = int | tuple[int, int] | Literal["dynamic"]

DYNAMIC = "dynamic"
DTYPES = ("float32", "float16", "bfloat16")

ANY_SIZE = (
    (32, 1),
    (96, 1),  # Inception's unpadded kernels leave nothing of a smaller one
    (32, 32),  # where pools drop an odd edge that shortcuts keep
)
"""Least height and width in pixels, and the step above it, the freest first."""


@dataclass(frozen=True)
class Prepared:
    """What a format writes.

    Args:
        model: the model as it was given.
        function: what is exported: the model in eval mode, batch normalizations folded, in
            `description.dtype`, with the preprocessing where it is in the graph.
        images: the shape and dtype of its argument; a size that is known when it runs is symbolic.
        example: the shape of such an argument, in numbers.
        weights: bytes of the arrays that the function has in it.
        description: what the artifact says about itself.
    """

    model: nnx.Module
    function: Images
    images: jax.ShapeDtypeStruct
    example: tuple[int, int, int, int]
    weights: int
    description: Description


def prepare(
    model: nnx.Module,
    *,
    input_size: Size | None,
    batch: Batch,
    dtype: str,
    preprocess: Preprocess | None,
    classes: tuple[str, ...],
    prepare_images: bool,
    in_features: int,
) -> Prepared:
    """Return a model ready to be exported; see `export` for the arguments.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or the model takes no such images or returns
            something else than an array.
    """
    name = None
    if isinstance(model, Backbone | Quantized):
        name, in_features = model.name, model.in_features
    if preprocess is None and name is not None:
        preprocess = _of_size(model_info(name).preprocess, input_size)
    if not isinstance(preprocess, Preprocess | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"`preprocess` must be a Preprocess, got {preprocess!r}")
    if prepare_images and preprocess is None:
        raise ValueError("`preprocess` must say how the graph prepares images, got None")
    call = model if isinstance(model, Quantized) else ready(model, dtype)

    def function(x: jax.Array) -> jax.Array:
        return around(call, preprocess if prepare_images else None, x)

    kind = jnp.dtype(jnp.uint8 if prepare_images else jnp.float32)
    example = _example(input_size, batch, preprocess, in_features)
    program = jax.jit(function).trace(jax.ShapeDtypeStruct(example, kind)).jaxpr
    outputs = program.out_avals[0].shape[-1]
    if classes and len(classes) != outputs:
        raise ValueError(
            f"`classes` must name the model's {outputs} outputs, got {len(classes)} names"
        )
    images, least, step = _images(function, example, kind, batch, input_size)
    description = Description(
        name=name,
        input_shape=tuple(d if isinstance(d, int) else str(d) for d in images.shape),
        least_size=least,
        size_step=step,
        input_dtype=kind.name,
        output="probabilities" if prepare_images else "logits",
        dtype=dtype,
        preprocess=preprocess,
        classes=classes,
        versions=versions(("flaxblocks", "jax", "flax")),
    )
    weights = sum(array.nbytes for array in program.consts)
    return Prepared(model, function, images, example, weights, description)


def ready(model: nnx.Module, dtype: str) -> Images:
    """Return a model as a function that computes in a dtype, as other runtimes should.

    Raises:
        ValueError: if the model is abstract.
    """
    fast: Any = _in_dtype(for_inference(model), dtype)
    use_forward_activations(fast)
    return lambda x: one_array(fast(x.astype(dtype))).astype(jnp.float32)


def one_array(result: object) -> jax.Array:
    """Return what a model returns; of a `Segmenter`'s arrays that of its own head.

    Raises:
        ValueError: if that is no array.
    """
    found = result
    got = type(result).__name__
    if isinstance(result, dict):
        maps = cast(dict[str, object], result)
        found, got = maps.get("out"), f"a mapping of {', '.join(map(repr, maps))}"
    if not isinstance(found, jax.Array):
        raise ValueError(f"`model` must return an array, or a mapping with one at 'out', got {got}")
    return found


def reference(model: nnx.Module, description: Description) -> Images:
    """Return what an exported model must compute: the model itself, in float32 or its integers."""
    own: Any = model if isinstance(model, Quantized) else _in_dtype(model, "float32")
    preprocess = description.preprocess if description.input_dtype == "uint8" else None
    return lambda x: around(lambda images: one_array(own(images)), preprocess, x)


def _in_dtype(model: M, dtype: str) -> M:
    """Return a copy in eval mode that has its parameters in a dtype, and computes in it."""
    graphdef, state = cast(tuple[nnx.GraphDef[M], Any], nnx.split(model))

    def rounded(leaf: Any) -> Any:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    copy = nnx.merge(graphdef, jax.tree.map(rounded, state))
    for _, module in nnx.iter_modules(copy):
        if getattr(module, "dtype", None) is not None:
            setattr(module, "dtype", jnp.dtype(dtype))  # noqa: B010 (most modules declare none)
    copy.eval()
    return copy


def around(call: Images, preprocess: Preprocess | None, x: jax.Array) -> jax.Array:
    """Return ``call(x)``; from bytes to probabilities where there is preprocessing to do."""
    if preprocess is None:
        return call(x)
    mean, std = np.asarray(preprocess.mean), np.asarray(preprocess.std)
    scale, shift = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
    return jax.nn.softmax(call(x.astype(jnp.float32) * scale + shift))


def _of_size(preprocess: Preprocess | None, size: Size | None) -> Preprocess | None:
    """Return a network's own preprocessing, for images of this size where they are square."""
    height, width = size if isinstance(size, tuple) and len(size) == 2 else (size, size)
    if preprocess is None or preprocess.whole or height != width or not isinstance(height, int):
        return preprocess
    return preprocess.at_size(height) if height > 0 else preprocess


def _example(
    input_size: Size | None, batch: Batch, preprocess: Preprocess | None, channels: int
) -> tuple[int, int, int, int]:
    if input_size is None or input_size == DYNAMIC:
        if preprocess is None:
            raise ValueError(
                f"`input_size` must be given where no `preprocess` tells it, got {input_size!r}"
            )
        input_size = preprocess.crop
    for name, given in (("input_size", input_size), ("batch", batch)):
        if isinstance(given, str) and given != DYNAMIC:
            raise ValueError(f"`{name}` must be a number or {DYNAMIC!r}, got {given!r}")
    height, width = checks.pair("input_size", input_size)  # pyright: ignore[reportArgumentType]
    count = 2 if batch == DYNAMIC else checks.positive_int("batch", batch)
    return count, height, width, checks.positive_int("in_features", channels)


def _images(
    function: Images,
    example: tuple[int, int, int, int],
    kind: jnp.dtype,
    batch: Batch,
    input_size: Size | None,
) -> tuple[jax.ShapeDtypeStruct, int, int]:
    """Return the images that the program is for, and the least size and its step, 0 if fixed."""
    n = "n" if batch == DYNAMIC else str(batch)
    _, height, width, channels = example
    if input_size != DYNAMIC:
        shape = jax_export.symbolic_shape(f"{n}, {height}, {width}, {channels}")
        return jax.ShapeDtypeStruct(shape, kind), 0, 0
    reason = None
    for least, step in ANY_SIZE:
        sizes = "h, w" if step == 1 else f"{step}*h, {step}*w"
        at_least = [f"{size} >= {least}" for size in "hw"] if step == 1 else []
        shape = jax_export.symbolic_shape(f"{n}, {sizes}, {channels}", constraints=at_least)
        images = jax.ShapeDtypeStruct(shape, kind)
        try:
            jax.eval_shape(function, images)
        except (ValueError, TypeError) as error:  # it computes images of the example's size
            reason = error
        else:
            return images, least, step
    raise ValueError(
        f"`input_size` must be a number of pixels: this model computes {height} x {width} pixels, "
        "but not any number of them"
    ) from reason
