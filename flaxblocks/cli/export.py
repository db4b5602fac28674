"""``flaxblocks export``: a trained network for another runtime."""

import argparse
from collections.abc import Sequence
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

ARGUMENTS = {"source": "--weights", "path": "--out", "format": "--to", "images": "--photos"}
CROPS = 8  # of the sample photograph


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
        "--dtype", default="float32", metavar="DTYPE", help="float32 (default), float16, bfloat16"
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
        0; 1 where the exported network differs.

    Raises:
        ImportError: if a package for the format, the photographs or the weights is not installed.
        OSError: if there are no such weights or photographs, or the file cannot be written.
        ValueError: if the network, the format or an option is unknown, the weights do not fit, or
            the format cannot express the network.
    """
    import flaxblocks as fb

    origin = origin_of(options)
    photos = photographs(options.photos)
    model = network_of(origin, options.key)
    path = fb.export(
        model,
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
    found = fb.verify_exported(model, path, prepared(exported, photos), format=options.format)
    console = stdout()
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", soft_wrap=True, markup=False)
    console.print(_table(found))
    return 0 if found.ok else 1


def photographs(paths: Sequence[Path] | None) -> list[Any]:
    """Return photographs: files, those in folders, or crops of a sample where none are named.

    Raises:
        FileNotFoundError: if there is no such file, or nothing in a folder.
        ImportError: if there is no sample photograph without Matplotlib.
    """
    if paths is None:
        from PIL import Image

        from parity.photo import load_photo

        photo = load_photo()
        step = (photo.shape[0] - photo.shape[1] // 2) // CROPS
        return [
            Image.fromarray(photo[i * step : i * step + photo.shape[1] // 2]) for i in range(CROPS)
        ]
    found = [f for p in paths for f in (sorted(p.iterdir()) if p.is_dir() else [p])]
    if not found:
        raise FileNotFoundError(f"`images`: there is nothing in {', '.join(map(str, paths))}")
    return found


def prepared(exported: "Exported", photos: Sequence[Any]) -> "np.ndarray":
    """Return photographs as an exported model takes them."""
    preprocess = exported.preprocess
    assert preprocess is not None  # the command hands one to `export`
    as_bytes = exported.description.input_dtype == "uint8"
    return preprocess.pixels(*photos) if as_bytes else preprocess(*photos)


def _table(found: "Verification") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("runtime", "dtype"):
        table.add_column(name)
    for name in ("photographs", "same class", "largest difference", "allowed"):
        table.add_column(name, justify="right")
    table.add_column("")
    table.add_row(
        found.runtime,
        found.dtype,
        str(found.images),
        str(found.same_class),
        f"{found.difference:.1e}",
        f"{found.bound:.0e}",
        "equal" if found.ok else "DIFFERS",
    )
    return table
