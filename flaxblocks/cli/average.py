"""``flaxblocks average``: one network from the weights of several runs."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flaxblocks._base.command_line import positive, stdout
from flaxblocks._base.replacing import new_folder

if TYPE_CHECKING:
    from flaxblocks.weights.card import Card

DESCRIPTION = (
    "Average the weights of several runs of one network, all of them or, with --data, those that "
    "make it better (a greedy model soup). The result is a folder as `flaxblocks train` leaves it."
)
ARGUMENTS = {"root": "--data", "source": "RUN", "state_dicts": "RUN"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder, or its best.safetensors"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="images to judge by; what makes it worse is left out",
    )
    parser.add_argument("--batch-size", type=positive, default=64, metavar="N", help="default: 64")


def run(options: argparse.Namespace) -> None:
    """Write the folder.

    Raises:
        ImportError: if a package for the images is not installed.
        OSError: if a run is not finished, or the folder cannot be written.
        ValueError: if the runs are of several networks, or the images are of other classes.
    """
    import flaxblocks as fb
    from flaxblocks.cli.evaluate import judge, labeled_images
    from flaxblocks.cli.weights import network_of
    from flaxblocks.train.data import UnreadableImages, evaluation_folder
    from flaxblocks.weights.origin import resolve
    from flaxblocks.weights.soup import StateDict, greedy_soup, mean_weights

    card = _card(options.runs)
    model = network_of(resolve(card.name, options.runs[0]), None)
    found = [fb.state_dict(network_of(resolve(card.name, path), None)) for path in options.runs]
    if options.data is None:
        mean, chosen = mean_weights(found), list(range(len(found)))
    else:
        images = labeled_images(evaluation_folder(options.data), card.classes, card.num_classes)

        def accuracy(weights: StateDict) -> float:
            fb.load_state_dict(model, weights)
            unreadable = UnreadableImages(len(images))
            values, _ = judge(model, images, card.preprocess, options.batch_size, unreadable)
            return values["accuracy"]

        mean, chosen, best = greedy_soup(found, accuracy)
        card = replace(card, metrics={"accuracy": best})
    fb.load_state_dict(model, mean)
    with new_folder(options.out) as folder:
        fb.save_weights(model, folder / card.weights, names=card.names)
        card.write(folder)
    parts = ", ".join(options.runs[place] for place in chosen)
    told = f", accuracy {100 * card.metrics['accuracy']:.2f} %" if card.metrics else ""
    stdout().print(f"{options.out}: the mean of {parts}{told}", markup=False, soft_wrap=True)


def _card(runs: list[str]) -> "Card":
    """Return the card of the result.

    Raises:
        FileNotFoundError: if one is no run's.
        ValueError: if they are of several networks.
    """
    from flaxblocks.weights.card import CARD, card_of

    cards: list[Card] = []
    for path in runs:
        found = card_of(path)
        if found is None:
            raise FileNotFoundError(f"RUN must be a finished run's folder, {path} has no {CARD}")
        cards.append(found[1])
    first = cards[0]
    for path, card in zip(runs, cards, strict=True):
        if (card.name, card.classes) != (first.name, first.classes):
            raise ValueError(f"RUN must all be of one network and classes, {path} is of others")
    return replace(first, weights="model.safetensors", metrics={}, recipe={"average_of": runs})
