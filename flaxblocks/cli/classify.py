# pyright: reportUnknownMemberType=false
"""``flaxblocks classify``: what a photograph shows."""

import argparse
from typing import TYPE_CHECKING, Any

from flaxblocks._base.command_line import positive, say_error, stdout
from flaxblocks.cli.weights import add_weights_arguments, network_of, origin_of

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from flaxblocks.preprocess import Preprocess

DESCRIPTION = "Say what photographs show, by a network with trained weights."

ARGUMENTS = {"source": "--weights"}

KEEPS_PROGRAMS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("photo", nargs="+", help="an image file")
    parser.add_argument("--run", metavar="DIR", help="the folder that `flaxblocks train` left")
    add_weights_arguments(parser)
    parser.add_argument("--top", type=positive, default=5, metavar="N", help="default: 5")


def run(options: argparse.Namespace) -> int:
    """Print the likeliest classes of each photograph.

    Returns:
        0; 2 where one of the photographs cannot be read, which is said, and the others are shown.

    Raises:
        ImportError: if a package for the photographs or the weights is not installed.
        OSError: if there are no such weights, or they are out of reach.
        ValueError: if the network is unknown, or the weights do not fit.
    """
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx

    import flaxblocks as fb

    origin = origin_of(options)
    images = {photo: _read(origin.preprocess, photo) for photo in options.photo}
    images = {photo: image for photo, image in images.items() if image is not None}
    console = stdout()
    if images:
        network = network_of(origin, options.key)
        names = origin.labels(network.num_classes)
        answer = nnx.jit(_answer)
        batch = jnp.asarray(np.concatenate(list(images.values())))
        logits = np.asarray(answer(fb.for_inference(network), batch), np.float64)
        likely = np.exp(logits - logits.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        for photo, row in zip(images, likely, strict=True):
            console.print(photo, style="bold", markup=False, soft_wrap=True)
            console.print(_table(row, names, options.top))
        console.print(
            f"{origin.name}; photographs resized to {origin.preprocess.resize}, cropped to "
            f"{origin.preprocess.crop} pixels, {origin.preprocess.interpolation}"
        )
    return 0 if len(images) == len(set(options.photo)) else 2


def _read(preprocess: "Preprocess", photo: str) -> Any:
    """Return a photograph as a batch of one, or None after saying why it cannot be read."""
    try:
        return preprocess(photo)
    except (ValueError, OSError) as error:
        say_error("flaxblocks", error)
        return None


def _table(probabilities: "np.ndarray", names: tuple[str, ...], top: int) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("probability", justify="right")
    table.add_column("class", justify="right")
    if names:
        table.add_column("name")
    for index in map(int, (-probabilities).argsort(kind="stable")[:top]):
        name: list[str] = [names[index]] if names else []
        table.add_row(f"{100 * probabilities[index]:.2f} %", str(index), *name)
    return table


def _answer(network: Any, images: Any) -> Any:
    return network(images)
