# pyright: reportMissingTypeStubs=false
"""``flaxblocks evaluate``: how often a network is right about a folder of images."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flaxblocks._base.command_line import positive, stdout
from flaxblocks.cli.weights import add_weights_arguments, network_of, origin_of

if TYPE_CHECKING:
    from flaxblocks.models import Backbone
    from flaxblocks.preprocess import Preprocess
    from flaxblocks.train.data import ImageFolder, TarShards, UnreadableImages

DESCRIPTION = "Say how often a network is right about images in a folder for each class."

ARGUMENTS = {"root": "--data", "source": "--weights"}

KEEPS_PROGRAMS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="the folder that `flaxblocks train` left"
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="a folder for each class, called as the class is, or .tar archives of images and "
        "their .cls; or `val` with such",
    )
    add_weights_arguments(parser)
    parser.add_argument("--batch-size", type=positive, default=64, metavar="N", help="default: 64")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write evaluation.json, with each class's precision and recall, and a page of it",
    )


def run(options: argparse.Namespace) -> None:
    """Print the accuracy.

    Raises:
        ImportError: if a package for the images or the weights is not installed.
        OSError: if there is no such folder or no such weights.
        ValueError: if the network is unknown, the folder or its images are not as they should be,
            or the weights do not fit.
    """
    import numpy as np

    from flaxblocks.cli.report import write_report
    from flaxblocks.train.data import UnreadableImages, evaluation_folder

    origin = origin_of(options, run="RUN")
    folder = evaluation_folder(options.data)
    model = network_of(origin, options.key)
    source = labeled_images(folder, origin.labels(model.num_classes), model.num_classes)
    unreadable = UnreadableImages(len(source))
    values, confusion = judge(model, source, origin.preprocess, options.batch_size, unreadable)
    if options.report is not None:
        write_report(options.report, values, np.asarray(confusion), source.classes)
    console = stdout()
    for name, reason in unreadable.new():
        console.print(f"left out {name}: {reason}", markup=False, soft_wrap=True)
    console.print(
        f"{origin.name}: accuracy {100 * values['accuracy']:.2f} %, among the first five "
        f"{100 * values['accuracy5']:.2f} %, loss {values['loss']:.4f}, of "
        f"{len(source) - unreadable.count} images",
        soft_wrap=True,
    )


def judge(
    model: "Backbone",
    source: "ImageFolder | TarShards",
    preprocess: "Preprocess",
    batch_size: int,
    unreadable: "UnreadableImages",
) -> tuple[dict[str, float], Any]:
    """Return the numbers of an evaluation, and its matrix of confusions.

    Raises:
        ImportError: if a package for the images is not installed.
        ValueError: if the devices cannot share a batch, or no image can be read.
    """
    import optax

    import flaxblocks as fb
    from flaxblocks.train import (
        create_state,
        make_eval_step,
        make_mesh,
        means,
        place_state,
        shard_batch,
    )
    from flaxblocks.train.data import Feed, evaluation_batches
    from flaxblocks.train.step.confusion import CONFUSION, confusion_scores
    from flaxblocks.train.step.evaluation import evaluation_sums

    mesh = make_mesh()
    check_batch_size(batch_size, mesh.size)
    state = place_state(mesh, create_state(fb.for_inference(model), optax.identity()))
    batches = evaluation_batches(source, preprocess, batch_size=batch_size, unreadable=unreadable)
    step = make_eval_step(scores=confusion_scores)
    with Feed(batches, lambda batch: shard_batch(mesh, batch)) as feed:
        sums = evaluation_sums(step, state, _shown(feed, len(source) // batch_size))
    assert sums is not None  # a folder of images has one
    confusion = sums.pop(CONFUSION)
    return means(sums), confusion


def labeled_images(
    folder: Path, classes: Sequence[str], num_classes: int
) -> "ImageFolder | TarShards":
    """Return images labeled by the outputs of a network.

    Args:
        folder: with a folder for each class, or archives, which number them.
        classes: what the outputs are called; empty where nobody knows, and then the folders, in
            alphabetical order, are the outputs.
        num_classes: number of outputs.

    Raises:
        OSError: if there is no such folder.
        ValueError: if a folder is called as no output is, or, where nobody knows what those are
            called, there is another number of them.
    """
    from flaxblocks.imagenet import CLASSES, synsets
    from flaxblocks.train.data import ImageFolder, TarShards
    from flaxblocks.train.data.image_folder import class_folders
    from flaxblocks.train.data.tar_shards import archives

    if archives(folder):
        return TarShards(folder, classes or None)
    if num_classes == CLASSES and folder.is_dir():
        found = class_folders(folder)
        if found and set(found) <= set(synsets()):
            return ImageFolder(folder, synsets())
    if classes:
        return ImageFolder(folder, classes)
    images = ImageFolder(folder)
    if images.num_classes != num_classes:
        raise ValueError(
            f"`data` must have a folder for each of the weights' {num_classes} classes, "
            f"got {images.num_classes}"
        )
    return images


def check_batch_size(batch_size: int, devices: int) -> None:
    """Raise an error where the devices cannot share a batch.

    Raises:
        ValueError: if there is one.
    """
    if batch_size % devices:
        raise ValueError(
            f"`batch_size` must be a multiple of the {devices} devices, got {batch_size}"
        )


def _shown(feed: Iterable[Any], total: int) -> Iterable[Any]:
    """Return the batches, and show on a terminal how many there were."""
    from rich.progress import track

    return track(feed, "evaluating", total=total, transient=True, disable=not sys.stdout.isatty())
