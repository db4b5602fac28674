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

    from flaxblocks.exporting import Exported, Verification

DESCRIPTION = (
    "Write a trained network for another runtime, run it there at once, and compare it with the "
    "network in JAX on photographs."
)

INT8 = "int8"
ARGUMENTS = {
    "source": "--weights",
    "calibration": "--calibration",
    "path": "--out",
    "format": "--to",
    "images": "--photos",
}
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
    from flaxblocks.exporting.formats import format_of

    int8 = options.dtype == INT8
    if options.calibration is not None and not int8:
        raise ValueError("`--calibration` is for `--dtype int8`")
    if options.any_size and not format_of(options.format, Path(options.path)).any_size:
        raise ValueError("`--any-size` is for `--to stablehlo`; the others need `--input-size`")
    origin = origin_of(options)
    photos = photographs(options.photos, CROPS_FOR_INT8 if int8 else CROPS)
    model = network_of(origin, options.key)
    subject = model
    if int8:
        shown = photographs(options.calibration, CROPS_FOR_INT8, seed=1)
        subject = fb.quantize(model, origin.preprocess(*shown))
    path = fb.export(
        subject,
        options.path,
        format=options.format,
        input_size="dynamic" if options.any_size else None,
        batch=options.batch or "dynamic",
        dtype=options.dtype,
        preprocess=origin.preprocess,
        classes=origin.labels(model.num_classes),
        prepare_images=options.prepare_images,
    )
    exported = fb.load_exported(path, format=options.format)
    images = prepared(exported, photos)
    beside = {"JAX in int8": subject, "JAX in float32": model} if int8 else {"JAX": model}
    found = {
        name: fb.verify_exported(truth, path, images, format=options.format)
        for name, truth in beside.items()
    }
    console = stdout()
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", soft_wrap=True, markup=False)
    console.print(_table(found))
    return 0 if all(verification.ok for verification in found.values()) else 1


def photographs(paths: Sequence[Path] | None, count: int, seed: int = 0) -> list[Any]:
    """Return photographs: files, those in folders, or crops of a sample where none are named.

    Args:
        paths: files and folders.
        count: how many crops of the sample.
        seed: of the crops.

    Raises:
        FileNotFoundError: if there is no such file, or nothing in a folder.
        ImportError: if there is no sample photograph without Matplotlib.
    """
    if paths is None:
        return _crops_of_sample(count, seed)
    found = [f for p in paths for f in (sorted(p.iterdir()) if p.is_dir() else [p])]
    if not found:
        raise FileNotFoundError(f"`images`: there is nothing in {', '.join(map(str, paths))}")
    return found


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


def prepared(exported: "Exported", photos: Sequence[Any]) -> "np.ndarray":
    """Return photographs as an exported model takes them."""
    preprocess = exported.preprocess
    assert preprocess is not None  # the command hands one to `export`
    as_bytes = exported.description.input_dtype == "uint8"
    return preprocess.pixels(*photos) if as_bytes else preprocess(*photos)


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
