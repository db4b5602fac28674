"""``flaxblocks train``: a network on a folder of images."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from flaxblocks._base.command_line import natural, positive, stdout
from flaxblocks.cli.weights import SOURCES, add_key_argument

if TYPE_CHECKING:
    from flaxblocks.train import Recipe
    from flaxblocks.train.data import ImageFolder
    from flaxblocks.weights.origin import Origin

SETTINGS = (
    "model",
    "recipe",
    "weights",
    "train",
    "epochs",
    "learning_rate",
    "batch_size",
    "image_size",
)
"""The options that the result depends on."""

DESCRIPTION = (
    "Train a network on images in a folder for each class. The folder of results "
    "gets checkpoints, a log, a plot of loss and accuracy, the weights, and a card with which "
    "`evaluate`, `classify` and `train --weights` use them."
)
ARGUMENTS = {"root": "--data", "source": "--weights", "name": "--model", "trainable": "--train"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="one of `flaxblocks models`; not needed where the weights tell",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="a folder for each class; or `train` and `val` with such folders",
    )
    parser.add_argument("--recipe", required=True, metavar="NAME", help="how it is trained")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder of results")
    parser.add_argument("--resume", action="store_true", help="resume the run in --out")
    parser.add_argument(
        "--weights",
        metavar="SOURCE",
        help=f"initial weights, but for the classifier where the classes differ: {SOURCES}",
    )
    add_key_argument(parser)
    parser.add_argument(
        "--train", nargs="+", metavar="MODULE", help="only these modules, such as: head stages.3"
    )
    parser.add_argument("--epochs", type=positive, metavar="N", help="default: the recipe's")
    parser.add_argument(
        "--learning-rate", type=float, metavar="X", help="of a batch of 256; default: the recipe's"
    )
    parser.add_argument(
        "--batch-size", type=positive, default=256, metavar="N", help="default: 256"
    )
    parser.add_argument("--image-size", type=positive, metavar="N", help="default: the network's")
    parser.add_argument("--seed", type=natural, default=0, metavar="N")
    parser.add_argument(
        "--save-every", type=positive, metavar="N", help="steps; default: those of an epoch"
    )
    parser.add_argument("--log-every", type=positive, default=50, metavar="N", help="default: 50")
    parser.add_argument("--keep", type=positive, default=3, metavar="N", help="checkpoints; 3")


def run(options: argparse.Namespace) -> int:
    """Train.

    Returns:
        0; 128 and the signal's number where a signal ended the training, which then was saved:
        130 for SIGINT, 143 for SIGTERM.

    Raises:
        ImportError: if a package that training needs is not installed.
        OSError: if there are no such images, or something cannot be written.
        ValueError: if the network is unknown, the images are not as they should be, the weights
            do not fit, the loss is no longer finite, or the run cannot be resumed.
    """
    from flax import nnx

    import flaxblocks as fb
    from flaxblocks.imagenet import synsets
    from flaxblocks.train import Training, under
    from flaxblocks.train.run.orbax_messages import hide_orbax_messages
    from flaxblocks.train.run.stop import Stop

    hide_orbax_messages()
    origin = _origin(options)
    preprocess = origin.preprocess
    training = Training(
        _recipe(options),
        preprocess if options.image_size is None else preprocess.at_size(options.image_size),
        batch_size=options.batch_size,
        trainable=under(*options.train) if options.train else ...,
        seed=options.seed,
        log_every=options.log_every,
        save_every=options.save_every,
        keep=options.keep,
    )
    images, validation = _images(options.data)
    rngs = nnx.Rngs(options.seed)
    model = fb.create_model(
        origin.name,
        weights=options.weights,
        key=options.key,
        num_classes=images.num_classes,
        rngs=rngs,
    )
    if origin.labels(images.num_classes) not in ((), images.classes, synsets()):
        model.reset_classifier(images.num_classes, rngs=rngs)  # as many, but other ones
    out = Path(options.out)
    with Stop() as stop:
        state = training.run(
            model,
            images,
            out,
            validation=validation,
            settings={setting: getattr(options, setting) for setting in SETTINGS},
            resume=options.resume,
            stop=stop,
        )
    if stop.asked is None:
        stdout().print(f"{out}: {origin.name} after step {int(state.step)}", soft_wrap=True)
        return 0
    stdout().print(
        f"{stop.asked.name}: saved step {int(state.step)} in {out}; --resume continues",
        soft_wrap=True,
    )
    return 128 + stop.asked


def _origin(options: argparse.Namespace) -> "Origin":
    """Return the network and how images are prepared for it, as its weights say if it has some."""
    from flaxblocks.models import model_info
    from flaxblocks.weights.origin import Origin, resolve

    if options.weights is not None:
        return resolve(options.model, options.weights)
    if options.model is None:
        raise ValueError("`model` or `weights` must say which network, got neither")
    return Origin(options.model, "", model_info(options.model).preprocess)


def _recipe(options: argparse.Namespace) -> "Recipe":
    """Return the recipe, with what the options change about it."""
    from dataclasses import replace

    from flaxblocks._base.command_line import nearest
    from flaxblocks.train import RECIPES

    if options.recipe not in RECIPES:
        known = nearest(options.recipe, tuple(RECIPES))
        raise ValueError(f"`recipe` must be one of {len(RECIPES)}, got {options.recipe!r}{known}")
    given = {"epochs": options.epochs, "learning_rate": options.learning_rate}
    return replace(RECIPES[options.recipe], **{k: v for k, v in given.items() if v is not None})


def _images(folder: str) -> "tuple[ImageFolder, ImageFolder | None]":
    """Return the images to train on, and those to judge by if there are any."""
    from flaxblocks.train.data import ImageFolder, training_folders

    train, validation = training_folders(folder)
    images = ImageFolder(train)
    return images, validation and ImageFolder(validation, images.classes)
