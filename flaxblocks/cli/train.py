"""``flaxblocks train``: a network on a folder of images."""

import argparse
import dataclasses
import json
from pathlib import Path

from flax import nnx

import flaxblocks as fb
from flaxblocks.cli.networks import image_preprocess, positive, stdout
from flaxblocks.train import RECIPES, Recipe, Training, under
from flaxblocks.train.data import ImageFolder
from flaxblocks.train.run.orbax_messages import hide_orbax_messages
from flaxblocks.train.run.stop import Stop

WEIGHTS = "model.safetensors"
CLASSES = "classes.json"
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
    "gets checkpoints, a log, a plot of loss and accuracy, and the weights."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("--model", required=True, metavar="NAME", help="one of `flaxblocks models`")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="a folder for each class; or `train` and `val` with such folders",
    )
    parser.add_argument("--recipe", required=True, choices=sorted(RECIPES))
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder of results")
    parser.add_argument("--resume", action="store_true", help="resume the run in --out")
    parser.add_argument(
        "--weights", metavar="SOURCE", help="initial weights, but for the classifier; see classify"
    )
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
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--save-every", type=positive, metavar="N", help="steps; default: those of an epoch"
    )
    parser.add_argument("--log-every", type=positive, default=50, metavar="N", help="default: 50")
    parser.add_argument("--keep", type=positive, default=3, metavar="N", help="checkpoints; 3")


def run(options: argparse.Namespace) -> None:
    """Train.

    Raises:
        ImportError: if a package that training needs is not installed.
        OSError: if there are no such images, or something cannot be written.
        ValueError: if the network is unknown, the images are not as they should be, the weights
            do not fit, the loss is no longer finite, or the run cannot be resumed.
    """
    hide_orbax_messages()
    training = Training(
        _recipe(options),
        image_preprocess(options.model, options.weights, options.image_size),
        batch_size=options.batch_size,
        trainable=under(*options.train) if options.train else ...,
        seed=options.seed,
        log_every=options.log_every,
        save_every=options.save_every,
        keep=options.keep,
    )
    images, validation = _images(Path(options.data))
    model = fb.create_model(
        options.model,
        weights=options.weights,
        num_classes=images.num_classes,
        rngs=nnx.Rngs(options.seed),
    )
    out = Path(options.out)
    with Stop() as stop:
        state = training.run(
            model,
            images,
            out,
            validation=validation,
            settings={name: getattr(options, name) for name in SETTINGS},
            resume=options.resume,
            stop=stop,
        )
    console = stdout()
    if stop.asked is not None:
        console.print(
            f"{stop.asked.name}: saved step {int(state.step)} in {out}; --resume continues",
            soft_wrap=True,
        )
        return
    (out / CLASSES).write_text(json.dumps(images.classes), encoding="utf-8")
    trained = state.model(average=state.average is not None)
    path = fb.save_weights(trained, out / WEIGHTS, names=fb.model_info(options.model).source)
    console.print(f"{path}: {options.model} after step {int(state.step)}", soft_wrap=True)


def _recipe(options: argparse.Namespace) -> Recipe:
    """Return the recipe, with what the options change about it."""
    recipe = RECIPES[options.recipe]
    given = {"epochs": options.epochs, "learning_rate": options.learning_rate}
    return dataclasses.replace(recipe, **{k: v for k, v in given.items() if v is not None})


def _images(folder: Path) -> tuple[ImageFolder, ImageFolder | None]:
    """Return the images to train on, and those to judge by if there are any."""
    train, validation = folder / "train", folder / "val"
    if not train.is_dir():
        return ImageFolder(folder), None
    images = ImageFolder(train)
    return images, ImageFolder(validation, images.classes) if validation.is_dir() else None
