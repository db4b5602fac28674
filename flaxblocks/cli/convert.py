"""``flaxblocks convert``: weights under another library's names."""

import argparse
from pathlib import Path

from flaxblocks._base.command_line import stdout

DESCRIPTION = (
    "Rewrite weights under another library's parameter names, or in another kind "
    "of file, in float32, and read the result back to check it."
)

NAMES = ("native", "timm", "torchvision")
ARGUMENTS = {"source": "IN", "weights": "IN", "path": "OUT", "names": "--to"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("source", metavar="IN", help="what `classify --weights` takes")
    parser.add_argument("path", metavar="OUT", help="a .safetensors, .pth, .pt or .bin file")
    parser.add_argument("--model", required=True, metavar="NAME", help="one of `flaxblocks models`")
    parser.add_argument("--to", dest="names", choices=NAMES, required=True)


def run(options: argparse.Namespace) -> None:
    """Write the file.

    Raises:
        ImportError: if a package for the weights is not installed.
        OSError: if a file cannot be read or written.
        ValueError: if the network is unknown or the weights do not fit it, or what was written
            differs from what was read.
    """
    import jax
    import numpy as np
    from flax import nnx

    import flaxblocks as fb
    from flaxblocks.cli.networks import count

    if Path(options.source).exists() and Path(options.path).exists():
        if Path(options.source).samefile(options.path):
            raise ValueError(f"OUT must be another file than IN, got {options.path} for both")
    rngs = nnx.Rngs(0)
    network = fb.create_model(options.model, weights=options.source, rngs=rngs)
    path = fb.save_weights(network, options.path, names=options.names)
    written = fb.create_model(options.model, weights=path, rngs=rngs)
    pairs = zip(*(jax.tree.leaves(nnx.state(n)) for n in (network, written)), strict=True)
    if not all(np.array_equal(before, after) for before, after in pairs):
        raise ValueError(f"OUT differs from IN when it is read back: {path}")
    tensors = len(fb.state_dict(written, options.names))
    stdout().print(
        f"{path}: {tensors} tensors with {count(network):,} parameters, read back and equal",
        soft_wrap=True,
    )
