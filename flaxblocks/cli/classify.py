"""``flaxblocks classify``: what a photograph shows."""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich import box
from rich.table import Table
from rich.text import Text

import flaxblocks as fb
from flaxblocks.cli.networks import positive, stdout
from flaxblocks.imagenet import CLASSES, class_names

DESCRIPTION = "Say what photographs show, by a network with trained weights."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("photo", nargs="+", help="an image file")
    parser.add_argument("--model", required=True, metavar="NAME", help="one of `flaxblocks models`")
    parser.add_argument(
        "--weights",
        required=True,
        metavar="SOURCE",
        help="default, a tag that `flaxblocks models NAME` lists, a .safetensors or .pth file, "
        "torchvision:resnet50/IMAGENET1K_V2, hf-hub:timm/resnet50.a1_in1k or an https:// address",
    )
    parser.add_argument(
        "--preprocess",
        metavar="WEIGHTS",
        help="prepare the photographs as for these weights (default: as for the given ones, or "
        "the network's default ones where a file does not tell which it holds)",
    )
    parser.add_argument("--top", type=positive, default=5, metavar="N", help="default: 5")


def run(options: argparse.Namespace) -> None:
    """Print the likeliest classes of each photograph.

    Raises:
        ImportError: if a package for the photographs or the weights is not installed.
        OSError: if there is no such photograph or no such weights, or they are out of reach.
        ValueError: if the network is unknown, a photograph is no image, or the weights do not fit.
    """
    preprocess = fb.create_preprocess(options.model, options.preprocess or options.weights)
    images = preprocess(*options.photo)
    network = fb.create_model(options.model, weights=options.weights, rngs=nnx.Rngs(0))
    logits = np.asarray(_run(fb.for_inference(network), jnp.asarray(images)), np.float64)
    console = stdout()
    for photo, row in zip(options.photo, logits, strict=True):
        console.print(Text(photo, style="bold"), soft_wrap=True)
        console.print(_table(_softmax(row), options.top))
    console.print(
        f"{options.model}; photographs resized to {preprocess.resize}, cropped to "
        f"{preprocess.crop} pixels, {preprocess.interpolation}"
    )


@nnx.jit
def _run(network: nnx.Module, images: jax.Array) -> jax.Array:
    return network(images)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def _table(probabilities: np.ndarray, top: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    named = len(probabilities) == CLASSES
    table.add_column("probability", justify="right")
    table.add_column("class", justify="right")
    if named:
        table.add_column("name")
    for index in np.argsort(-probabilities, kind="stable")[:top]:
        name = [class_names()[index]] if named else []
        table.add_row(f"{100 * probabilities[index]:.2f} %", str(index), *name)
    return table
