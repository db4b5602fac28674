# pyright: reportUnknownMemberType=false
"""``flaxblocks train``: a network on a folder of images."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from flaxblocks._base.command_line import stdout
from flaxblocks.cli.processes import add_process_arguments, join_processes
from flaxblocks.cli.weights import SOURCES
from flaxblocks.train.run.settings import Settings, read_config

CONFIG = "config.toml"

DESCRIPTION = (
    "Train a network on images in a folder for each class. The folder of results gets checkpoints, "
    "a log, a plot of loss and accuracy, the last and the best weights, the settings, and a card "
    "with which `evaluate`, `classify` and `train --weights` use them."
)
ARGUMENTS = {
    "root": "--data",
    "source": "--weights",
    "name": "--model",
    "trainable": "--train",
    "groups": "--mesh-groups",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand: its own, and one for each setting."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="a folder for each class, or .tar archives of images and their .cls; or `train` and "
        "`val` with such; or hf:NAME, a dataset of the Hugging Face Hub",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder of results")
    parser.add_argument("--resume", action="store_true", help="resume the run in --out")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"settings in TOML, such as a run's {CONFIG}; options come first, the recipe last",
    )
    add_process_arguments(parser)
    group = parser.add_argument_group(
        "settings", "The defaults are those that a recipe does not change; finetune is the recipe."
    )
    for setting in fields(Settings):
        _add(group, setting.name, setting.default, setting.metadata)
    group.add_argument("--amp", action="store_true", help="the same as --dtype bfloat16")


def _add(group: Any, name: str, default: Any, about: Any) -> None:
    """Add the option of a setting, None where it is not given."""
    option = "--" + name.replace("_", "-")
    text = f"{about['help']}{_told(default)}".replace("%", "%%")
    if name == "weights":
        text = f"initial weights, but for the classifier where the classes differ: {SOURCES}"
    if about["kind"] is bool:
        group.add_argument(option, action=argparse.BooleanOptionalAction, default=None, help=text)
        return
    more: dict[str, Any] = {"nargs": "+"} if about["many"] else {}
    if about["choices"] and not about["many"]:
        more["choices"] = about["choices"]
    else:
        more["metavar"] = {int: "N", float: "X"}.get(about["kind"], name.upper())
    group.add_argument(option, type=about["kind"], default=None, help=text, **more)


def _told(default: Any) -> str:
    if default is None or default == () or default == "":
        return ""
    if isinstance(default, tuple):
        default = " ".join(map(str, cast("tuple[Any, ...]", default)))
    return f" (default: {default})"


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings of recipe, file and options, the later of which come first.

    Raises:
        OSError: if the file cannot be read.
        TypeError: if a value in the file is of another type than its setting.
        ValueError: if a setting is unknown or out of range.
    """
    given = {setting.name: getattr(options, setting.name) for setting in fields(Settings)}
    if options.log is not None:
        given["log"] = [name for text in options.log for name in text.split(",") if name]
    if options.amp:
        given["dtype"] = "bfloat16"
    config = {} if options.config is None else read_config(options.config)
    return Settings.of(config, **given)


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
    import jax

    from flaxblocks.cli.training import make_model, make_training, origin_of, read_images
    from flaxblocks.train.run.orbax_messages import hide_orbax_messages
    from flaxblocks.train.run.stop import Stop

    hide_orbax_messages()
    settings = settings_of(options)
    join_processes(options)
    origin = origin_of(settings)
    images, validation = read_images(options.data)
    model = make_model(settings, origin, images)
    training = make_training(settings, origin, model)
    out = Path(options.out)
    with Stop() as stop:
        state = training.run(
            model,
            images,
            out,
            validation=validation,
            settings=settings.result(),
            config=settings.toml(),
            resume=options.resume,
            stop=stop,
        )
    if jax.process_index():
        return 0 if stop.asked is None else 128 + stop.asked
    if stop.asked is None:
        stdout().print(f"{out}: {origin.name} after step {int(state.step)}", soft_wrap=True)
        return 0
    stdout().print(
        f"{stop.asked.name}: saved step {int(state.step)} in {out}; --resume continues",
        soft_wrap=True,
    )
    return 128 + stop.asked
