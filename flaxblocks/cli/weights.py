"""The options that say which trained network a command uses, and what belongs to it."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flaxblocks._base.command_line import positive

if TYPE_CHECKING:
    from flaxblocks.models import Backbone
    from flaxblocks.weights.origin import Origin

SOURCES = (
    "default, a tag that `flaxblocks models NAME` lists, a run's folder, a .safetensors or .pth "
    "file, torchvision:resnet50/IMAGENET1K_V2, hf-hub:timm/resnet50.a1_in1k or an https:// address"
)


def add_weights_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, ``--weights`` and ``--preprocess``."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="one of `flaxblocks models`; not needed where the weights tell",
    )
    parser.add_argument("--weights", metavar="SOURCE", help=SOURCES)
    add_key_argument(parser)
    parser.add_argument(
        "--preprocess",
        metavar="WEIGHTS",
        help="prepare images as for these weights (default: as for the given ones, or the "
        "network's default ones where a file does not tell which it holds)",
    )
    parser.add_argument(
        "--input-size", type=positive, metavar="N", help="pixels (default: the weights' own)"
    )


def network_of(origin: "Origin", key: str | None) -> "Backbone":
    """Return the network with its weights.

    Raises:
        OSError: if they are out of reach.
        ValueError: if they do not fit.
    """
    from flax import nnx

    import flaxblocks as fb

    return fb.create_model(
        origin.name,
        weights=origin.source,
        key=key,
        in_features=origin.preprocess.channels,
        rngs=nnx.Rngs(0),
    )


def add_key_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--key``."""
    parser.add_argument(
        "--key",
        metavar="NAME",
        help="where in a checkpoint of torch.save the weights are, such as model_ema",
    )


def origin_of(options: argparse.Namespace, run: str = "--run") -> "Origin":
    """Return where the weights are that the options name, and what belongs to them.

    Args:
        options: what was given.
        run: what the command calls the run's folder, or a file of weights in it, for the errors.

    Raises:
        OSError: if there are no such weights, or they are out of reach.
        ValueError: if the options name none, or two, or a network that they are not of, or one that
            does not classify images.
    """
    from flaxblocks.models.registry import check_classifies
    from flaxblocks.weights.origin import resolve

    if (options.run is None) == (options.weights is None):
        got = "both" if options.run else "neither"
        raise ValueError(f"give a run's folder or `--weights`, got {got}")
    if options.run is None:
        origin = resolve(options.model, options.weights)
    else:
        origin = _of_run(options.model, Path(options.run), run)
    check_classifies(origin.name)
    preprocess = origin.preprocess
    if options.preprocess is not None:
        preprocess = resolve(origin.name, options.preprocess).preprocess
    if options.input_size is not None:
        preprocess = preprocess.at_size(options.input_size)
    return replace(origin, preprocess=preprocess)


def _of_run(name: str | None, path: Path, option: str) -> "Origin":
    """Return what belongs to a run's weights; what is wrong with them is told of the option."""
    from flaxblocks.weights.origin import resolve

    if not path.exists():
        raise FileNotFoundError(f"`{option}`: there is no folder {path}")
    try:
        return resolve(name, path)
    except (OSError, ValueError) as error:
        raise type(error)(str(error).replace("`weights`", f"`{option}`")) from error
