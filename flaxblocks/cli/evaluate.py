"""``flaxblocks evaluate``: how often a network is right about a folder of images."""

import argparse
import sys

import optax
from flax import nnx
from rich.progress import track

import flaxblocks as fb
from flaxblocks.cli.networks import image_preprocess, positive, stdout
from flaxblocks.train import (
    create_state,
    evaluate,
    make_eval_step,
    make_mesh,
    place_state,
    shard_batch,
)
from flaxblocks.train.data import Feed, ImageFolder, UnreadableImages, evaluation_batches

DESCRIPTION = "Say how often a network is right about images in a folder for each class."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("--model", required=True, metavar="NAME", help="one of `flaxblocks models`")
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder for each class")
    parser.add_argument(
        "--weights", required=True, metavar="SOURCE", help="what `classify --weights` takes"
    )
    parser.add_argument("--image-size", type=positive, metavar="N", help="default: the network's")
    parser.add_argument("--batch-size", type=positive, default=64, metavar="N", help="default: 64")


def run(options: argparse.Namespace) -> None:
    """Print the accuracy.

    Raises:
        ImportError: if a package for the images or the weights is not installed.
        OSError: if there is no such folder or no such weights.
        ValueError: if the network is unknown, the folder or its images are not as they should be,
            or the weights do not fit.
    """
    preprocess = image_preprocess(options.model, options.weights, options.image_size)
    source = ImageFolder(options.data)
    model = fb.create_model(options.model, weights=options.weights, rngs=nnx.Rngs(0))
    if model.num_classes != source.num_classes:
        raise ValueError(
            f"`--data` must have a folder for each of the weights' {model.num_classes} classes, "
            f"got {source.num_classes}"
        )
    mesh = make_mesh()
    check_batch_size(options.batch_size, mesh.size)
    state = place_state(mesh, create_state(fb.for_inference(model), optax.identity()))
    unreadable = UnreadableImages(len(source))
    batches = evaluation_batches(
        source, preprocess, batch_size=options.batch_size, unreadable=unreadable
    )
    with Feed(batches, lambda batch: shard_batch(mesh, batch)) as feed:
        values = evaluate(make_eval_step(), state, _shown(feed, len(source) // options.batch_size))
    console = stdout()
    for name, reason in unreadable.new():
        console.print(f"left out {name}: {reason}", markup=False, soft_wrap=True)
    console.print(
        f"{options.model}: accuracy {100 * values['accuracy']:.2f} %, among the first five "
        f"{100 * values['accuracy5']:.2f} %, loss {values['loss']:.4f}, of "
        f"{len(source) - unreadable.count} images",
        soft_wrap=True,
    )


def check_batch_size(batch_size: int, devices: int) -> None:
    """Raise an error where the devices cannot share a batch.

    Raises:
        ValueError: if there is one.
    """
    if batch_size % devices:
        raise ValueError(
            f"`--batch-size` must be a multiple of the {devices} devices, got {batch_size}"
        )


def _shown(feed: Feed, total: int):
    """Return the batches, and show on a terminal how many there were."""
    return track(feed, "evaluating", total=total, transient=True, disable=not sys.stdout.isatty())
