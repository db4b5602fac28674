"""``flaxblocks export``: a trained network for another runtime."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flaxblocks._base.command_line import positive, stdout
from flaxblocks.cli.weights import add_weights_arguments, network_of, origin_of

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from flaxblocks.exporting import Verification
    from flaxblocks.preprocess import Preprocess

DESCRIPTION = (
    "Write a trained network for another runtime, run it there at once, and compare it with the "
    "network in JAX on photographs."
)

INT8 = "int8"
ARGUMENTS = {"source": "--weights", "path": "--out", "format": "--to"}
CROPS = 8  # of the sample photograph
CROPS_FOR_INT8 = 240  # of which each has its class, and as many to calibrate by


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("--run", metavar="DIR", help="the folder that `flaxblocks train` left")
    add_weights_arguments(parser)
    parser.add_argument(
        "--to",
        dest="format",
        metavar="FORMAT",
        help="stablehlo, onnx, litert or torch (default: by the suffix)",
    )
    parser.add_argument("--out", dest="path", required=True, metavar="PATH", help="the file")
    parser.add_argument(
        "--batch", type=positive, metavar="N", help="images in a call (default: any number)"
    )
    parser.add_argument(
        "--any-size", action="store_true", help="take images of any height and width"
    )
    parser.add_argument(
        "--dtype",
        default="float32",
        metavar="DTYPE",
        help="float32 (default), float16, bfloat16; int8, calibrated by photographs",
    )
    parser.add_argument(
        "--calibration",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="what --dtype int8 is calibrated by: photographs, or folders of them, 100 or more "
        "(default: crops of a sample photograph)",
    )
    parser.add_argument(
        "--prepare-images",
        action="store_true",
        help="normalize in the program: bytes in, probabilities out",
    )
    parser.add_argument(
        "--photos",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="compare on these, or those in a folder (default: crops of a sample photograph)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the file and print the comparison.

    A file that differs lies beside its path, as ``model.differs.onnx``.

    Returns:
        0; 1 where the exported network differs; in int8, where not each photograph has the class
        that JAX computes in int8, or more than 1 of 10 another one than in float32.

    Raises:
        ImportError: if a package for the format, the photographs or the weights is not installed.
        OSError: if there are no such weights or photographs, or the file cannot be written.
        ValueError: if the network, the format or an option is unknown, the weights do not fit, or
            the format cannot express the network.
    """
    import flaxblocks as fb
    from flaxblocks.exporting.artifact import check_target
    from flaxblocks.exporting.formats import format_of

    int8, size = options.dtype == INT8, "dynamic" if options.any_size else None
    if options.calibration is not None and not int8:
        raise ValueError("`--calibration` is for `--dtype int8`")
    target = format_of(options.format, Path(options.path))
    if options.any_size and not target.any_size:
        raise ValueError("`--any-size` is for `--to stablehlo`; the others need `--input-size`")
    check_target(target, Path(options.path), options.dtype, size)
    origin = origin_of(options)
    preprocess = origin.preprocess
    crops = CROPS_FOR_INT8 if int8 else CROPS
    images = prepared(preprocess, "--photos", options.photos, crops, options.prepare_images)
    calibration = None
    if int8:
        calibration = prepared(preprocess, "--calibration", options.calibration, crops, seed=1)
    model = network_of(origin, options.key)
    subject = model if calibration is None else fb.quantize(model, calibration)
    beside = {"JAX in int8": subject, "JAX in float32": model} if int8 else {"JAX": model}
    found: dict[str, Verification] = {}

    def agrees(file: Path) -> bool:
        for name, truth in beside.items():
            found[name] = fb.verify_exported(truth, file, images, format=options.format)
        return all(verification.ok for verification in found.values())

    path = fb.export(
        subject,
        options.path,
        format=options.format,
        input_size=size,
        batch=options.batch or "dynamic",
        dtype=options.dtype,
        preprocess=preprocess,
        classes=origin.labels(model.num_classes),
        prepare_images=options.prepare_images,
        check=agrees,
    )
    console = stdout()
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", soft_wrap=True, markup=False)
    console.print(_table(found))
    if path == Path(options.path):
        return 0
    kept = f"{options.path} was left as it was: the file that differs is {path}"
    console.print(kept, soft_wrap=True, markup=False)
    return 1


def prepared(
    preprocess: "Preprocess",
    option: str,
    paths: Sequence[Path] | None,
    count: int,
    as_bytes: bool = False,
    seed: int = 0,
) -> "np.ndarray":
    """Return photographs as a network takes them: files, those in folders, or a sample's crops.

    Args:
        preprocess: the network's.
        option: that names them, for the errors.
        paths: files and folders; None for crops of a sample photograph.
        count: how many crops of the sample.
        as_bytes: whether the network normalizes them itself.
        seed: of the crops.

    Raises:
        ImportError: if there is no sample photograph without Matplotlib.
        OSError: if there is no such file, or nothing in the folders.
        ValueError: if one is no photograph.
    """
    if paths is None:
        photos: list[Any] = _crops_of_sample(count, seed)
    else:
        photos = [f for p in paths for f in (sorted(p.iterdir()) if p.is_dir() else [p])]
        if not photos:
            raise FileNotFoundError(f"`{option}`: there is nothing in {', '.join(map(str, paths))}")
    try:
        return preprocess.pixels(*photos) if as_bytes else preprocess(*photos)
    except (OSError, ValueError) as error:
        raise type(error)(str(error).replace("`images`", f"`{option}`")) from error


def _crops_of_sample(count: int, seed: int) -> list[Any]:
    """Return square crops of the sample photograph, a third of its width or more, as images."""
    import numpy as np
    from PIL import Image

    from parity.photo import load_photo

    photo, rng = load_photo(), np.random.default_rng(seed)
    height, width = map(int, photo.shape[:2])
    crops: list[Any] = []
    for _ in range(count):
        side = int(rng.integers(width // 3, width))
        top, left = int(rng.integers(height - side)), int(rng.integers(width - side))
        crops.append(Image.fromarray(photo[top : top + side, left : left + side]))
    return crops


def _table(found: Mapping[str, "Verification"]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("runtime", "dtype", "beside"):
        table.add_column(name)
    for name in ("photographs", "same class", "largest difference", "allowed"):
        table.add_column(name, justify="right")
    table.add_column("")
    for beside, one in found.items():
        table.add_row(
            one.runtime,
            one.dtype,
            beside,
            str(one.images),
            str(one.same_class),
            f"{one.difference:.1e}",
            f"{one.bound:.0e}" if one.bound < float("inf") else f"{one.least_same} the same",
            "equal" if one.ok else "DIFFERS",
        )
    return table
