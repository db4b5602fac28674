"""``flaxblocks convert``: weights under another library's names."""

import argparse
from dataclasses import replace
from pathlib import Path

from flaxblocks._base.command_line import stdout
from flaxblocks.cli.weights import SOURCES, add_key_argument, network_of

DESCRIPTION = (
    "Rewrite weights under another library's parameter names, or in another kind "
    "of file, in float32, and read the result back to check it."
)

NAMES = ("native", "timm", "torchvision")
HUB = "hub"
ARGUMENTS = {"source": "IN", "weights": "IN", "path": "OUT", "names": "--to"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("source", metavar="IN", help=SOURCES)
    parser.add_argument(
        "path",
        metavar="OUT",
        help="a .safetensors, .pth, .pt or .bin file; with --to hub a folder, which timm takes",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="one of `flaxblocks models`; not needed where the weights tell",
    )
    add_key_argument(parser)
    parser.add_argument(
        "--to",
        dest="names",
        choices=(*NAMES, HUB),
        required=True,
        help=f"whose names; {HUB}: timm's, with the config.json of the Hugging Face Hub",
    )


def run(options: argparse.Namespace) -> None:
    """Write the file.

    Raises:
        ImportError: if a package for the weights is not installed.
        OSError: if a file cannot be read or written.
        ValueError: if the network is unknown or the weights do not fit it, or what was written
            differs from what was read.
    """
    import numpy as np

    import flaxblocks as fb
    from flaxblocks.cli.networks import count
    from flaxblocks.weights.origin import resolve

    if Path(options.source).exists() and Path(options.path).exists():
        if Path(options.source).samefile(options.path):
            raise ValueError(f"OUT must be another file than IN, got {options.path} for both")
    origin = resolve(options.model, options.source)
    network = network_of(origin, options.key)
    if options.names == HUB:
        path = fb.save_pretrained(
            network, options.path, preprocess=origin.preprocess, classes=origin.classes
        )
    else:
        path = fb.save_weights(network, options.path, names=options.names)
    written = network_of(replace(origin, source=path), None)
    before, after = fb.state_dict(network), fb.state_dict(written)
    if not all(np.array_equal(array, after[name]) for name, array in before.items()):
        raise ValueError(f"OUT differs from IN when it is read back: {path}")
    stdout().print(
        f"{path}: {len(after)} tensors with {count(network):,} parameters, read back and equal",
        soft_wrap=True,
    )
