"""The doors: `export` writes a model for another runtime, `load_exported` reads it back."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Float

from flaxblocks._base.replacing import replacing, temporary_path
from flaxblocks.exporting.description import Description
from flaxblocks.exporting.formats import INT8, Format, Run, format_of
from flaxblocks.exporting.prepare import DYNAMIC, Batch, Size, prepare
from flaxblocks.exporting.quantization.quantized import Quantized
from flaxblocks.preprocess import Preprocess


@dataclass(frozen=True)
class Exported:
    """An exported model, run by the runtime of its format; `load_exported` returns it.

    Args:
        description: what it says about itself: shapes, preprocessing, classes.
        runtime: what runs it.
    """

    description: Description
    runtime: str
    run: Run = field(repr=False)

    @property
    def preprocess(self) -> Preprocess | None:
        """How images are prepared for it; None where nobody said."""
        return self.description.preprocess

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its outputs, in order; empty where nobody said."""
        return self.description.classes

    def __call__(self, images: np.ndarray) -> Float[np.ndarray, "..."]:
        """Return the logits or probabilities of images.

        Args:
            images: array of `description.input_shape` and `description.input_dtype`.

        Raises:
            TypeError: if they have another dtype.
            ValueError: if they have another shape.
        """
        images = np.asarray(images)
        self.description.check(images)
        return self.run(images)


def export(
    model: nnx.Module,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    input_size: Size | None = None,
    batch: Batch = DYNAMIC,
    dtype: DTypeLike = jnp.float32,
    preprocess: Preprocess | None = None,
    classes: tuple[str, ...] = (),
    prepare_images: bool = False,
    in_features: int = 3,
    check: Callable[[Path], bool] | None = None,
) -> Path:
    """Write a model, in eval mode, for another runtime.

    >>> model = fb.create_model("resnet18", num_classes=10, rngs=nnx.Rngs(0))
    >>> fb.export(model, "resnet18.onnx", input_size=224)  # doctest: +SKIP
    PosixPath('resnet18.onnx')

    Args:
        model: a network or any module that maps images ``(n, h, w, c)`` to an array; or what
            `quantize` returns, which becomes a file in int8.
        path: the file; what is there is replaced.
        format: ``"stablehlo"``, ``"onnx"``, ``"litert"`` or ``"torch"``; by the file's suffix where
            absent: ``.stablehlo``, ``.onnx``, ``.tflite`` or ``.pt2``.
        input_size: height and width of the images in pixels, or ``"dynamic"`` for any; the
            preprocessing's crop where absent.
        batch: how many images a call takes, or ``"dynamic"`` for any number.
        dtype: what is computed in, but for a quantized model; images and results stay float32.
        preprocess: how images are prepared, for the artifact to tell; as for the network's first
            weights where absent, at `input_size` where that is square.
        classes: the names of the outputs, in order, for the artifact to tell.
        prepare_images: whether the program prepares the images itself: it then takes bytes,
            resized and cropped, and returns probabilities.
        in_features: channels of the images, where the model is no network, which tells its own.
        check: looks at the finished file before it takes its place, see `verify_exported`. Where
            it answers False the file goes beside the path, as ``resnet18.differs.onnx``, and what
            is at `path` stays.

    Returns:
        Where the file is: `path`, unless `check` found it wanting.

    Raises:
        ImportError: if a package that the format needs is not installed.
        OSError: if the file cannot be written; that is found out before the work.
        TypeError: if an argument is of the wrong type.
        ValueError: if the format is unknown, an argument is out of range, or the model has what
            the format cannot express, which is said with the layer.
    """
    path = Path(path)
    target = format_of(format, path)
    name = INT8 if isinstance(model, Quantized) else _name_of(dtype)
    check_target(target, path, dtype if name is None else name, input_size)
    if name == INT8 and not isinstance(model, Quantized):
        raise ValueError("`model` must be what `quantize` returns for int8")
    assert name is not None  # else it is none of the format's
    names = tuple(classes)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in names):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"`classes` must be names, one for each output, got {classes!r}")
    if check is not None and not callable(check):  # pyright: ignore[reportUnnecessaryComparison]
        raise TypeError(f"`check` must be a function of the file's path, got {check!r}")
    prepared = prepare(
        model,
        input_size=input_size,
        batch=batch,
        dtype=name,
        preprocess=preprocess,
        classes=names,
        prepare_images=prepare_images,
        in_features=in_features,
    )
    found = path

    def place(file: Path) -> Path:
        nonlocal found
        if check is not None and not check(file):
            found = path.with_name(f"{path.stem}.differs{path.suffix}")
        return found

    with replacing(path, place) as temporary:
        target.write(prepared, temporary)
        del prepared  # its weights, while the check needs them once more
    return found


def _name_of(dtype: DTypeLike | None) -> str | None:
    """Return the name of a dtype, None where it is none."""
    try:
        return None if dtype is None else jnp.dtype(dtype).name
    except TypeError:
        return None


def load_exported(path: str | os.PathLike[str], *, format: str | None = None) -> Exported:
    """Load an exported model, without the code that it was made of.

    >>> exported = fb.load_exported("resnet18.stablehlo")  # doctest: +SKIP
    >>> exported(exported.preprocess("photo.jpg")).argmax()  # doctest: +SKIP

    Args:
        path: what `export` wrote.
        format: its format; by the file's suffix where absent.

    Returns:
        A function of images that knows its preprocessing and classes. The format's own runtime
        computes it, on CPU but for StableHLO, which runs wherever JAX does.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the runtime is not installed.
        ValueError: if the format is unknown, or the file is damaged or something else.
    """
    path = Path(path)
    kind = format_of(format, path)
    if not path.is_file():
        raise FileNotFoundError(f"`path`: there is no file {path}")
    description, run = kind.read(path)
    return Exported(description, kind.runtime, run)


def check_target(target: Format, path: Path, dtype: object, input_size: object) -> None:
    """Refuse what a format does not have, and a path that cannot be written, before the work.

    Args:
        target: the format.
        path: where to.
        dtype: the name of what is computed in.
        input_size: height and width, or ``"dynamic"``.

    Raises:
        OSError: if its folder does not exist or takes no such file, or the path is a folder.
        ValueError: if the format has no such dtype, or takes no images of any size.
    """
    if not isinstance(dtype, str) or dtype not in target.dtypes:
        raise ValueError(f"`dtype` must be {' or '.join(target.dtypes)}, got {dtype!r}")
    if input_size == DYNAMIC and not target.any_size:
        raise ValueError(
            f"`input_size` must be a number of pixels for {target.runtime}, got {input_size!r}"
        )
    folder = path.absolute().parent
    if not os.path.isdir(folder):  # pathlib's raises where a name is too long
        raise FileNotFoundError(f"`path`: cannot write {path}, there is no folder {folder}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"`path`: cannot write {path}, which is a folder")
    trial = temporary_path(path)
    try:
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise type(error)(
            f"`path`: cannot write {path}, {folder} takes no such file ({error.strerror}); "
            "give one that can be written"
        ) from error
