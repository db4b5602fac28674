"""``flaxblocks classify``: what a photograph shows."""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich import box
from rich.table import Table
from rich.text import Text

import flaxblocks as fb
from flaxblocks.cli.networks import NAMES, abstract_network, positive, stdout
from flaxblocks.imagenet import CLASSES, class_names
from flaxblocks.weights import hub
from flaxblocks.weights.files import TORCHVISION
from flaxblocks.weights.published import PUBLISHED

DESCRIPTION = "Say what photographs show, by a network with trained weights."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("photo", nargs="+", help="an image file")
    parser.add_argument("--model", required=True, metavar="NAME", help="one of `flaxblocks models`")
    parser.add_argument(
        "--weights",
        required=True,
        metavar="SOURCE",
        help="a .safetensors or .pth file, torchvision:resnet50/IMAGENET1K_V2, "
        "hf-hub:timm/resnet50.a1_in1k or an https:// address",
    )
    parser.add_argument(
        "--names",
        choices=sorted(NAMES),
        help="whose parameter names the weights have (default: those of the network's source)",
    )
    parser.add_argument(
        "--preprocess",
        metavar="WEIGHTS",
        help="prepare the photographs as for these weights of torchvision's, IMAGENET1K_V1 "
        "(default: as for the given ones where they can be told, else the newest)",
    )
    parser.add_argument("--top", type=positive, default=5, metavar="N", help="default: 5")
    parser.add_argument("--num-classes", type=positive, default=CLASSES, metavar="N")


def run(options: argparse.Namespace) -> None:
    """Print the likeliest classes of each photograph.

    Raises:
        ImportError: if a package for the photographs or the weights is not installed.
        OSError: if there is no such photograph or no such weights, or they are out of reach.
        ValueError: if the network is unknown, a photograph is no image, or the weights do not fit.
    """
    network = abstract_network(options.model, options.num_classes)
    preprocess = _preprocess(options.model, options.weights, options.preprocess)
    images = preprocess(*options.photo)
    names = options.names or _usual_names(options.model, options.weights)
    fb.load_weights(network, options.weights, names=names)
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


def _preprocess(model: str, source: str, weights: str | None) -> fb.Preprocess:
    """Return what belongs to the weights, as far as their source tells which they are."""
    if weights is None and source.startswith(hub.SCHEME):
        config = hub.read_config(source.removeprefix(hub.SCHEME))
        return fb.Preprocess.from_timm(config.get("pretrained_cfg", config))
    return fb.create_preprocess(model, weights or _published_as(model, source))


def _published_as(model: str, source: str) -> str | None:
    """Return torchvision's name of the weights, where the source or the file's name tells it."""
    if source.startswith(TORCHVISION):
        network, _, weights = source.removeprefix(TORCHVISION).partition("/")
        if network != model:
            raise ValueError(f"`--weights` must be for `--model` {model}, got {source}")
        return weights
    files = PUBLISHED.get(model, {})
    return next((weights for weights, file in files.items() if file == Path(source).name), None)


def _usual_names(model: str, source: str) -> str:
    """Return whose parameter names weights from there have."""
    return "timm" if model.startswith("timm/") or source.startswith(hub.SCHEME) else "torchvision"


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
