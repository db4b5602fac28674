"""A trained network's card: all that using its weights takes, in the folder beside them."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from flaxblocks._base import checks
from flaxblocks._base.json_files import is_beside, read_table
from flaxblocks._base.replacing import write_text
from flaxblocks.preprocess import Preprocess
from flaxblocks.weights.arrays import shown

CARD = "model.json"
BEST = "best.safetensors"
"""The weights that were best in an evaluation, beside the last ones."""


@dataclass(frozen=True)
class Card:
    """What a run's folder says about the network that was trained.

    Args:
        name: one of `list_models`.
        num_classes: outputs of the classifier.
        preprocess: how images are prepared.
        weights: the file of weights, beside the card.
        names: whose parameter names the file has, see `state_dict`.
        classes: names of the classes in the order of the outputs; empty where nobody named them.
        in_features: channels of the image.
        recipe: how it was trained: the recipe's settings by name.
        versions: of the packages that trained it.
        metrics: numbers about the network, such as its ``accuracy`` in the last evaluation.
    """

    name: str
    num_classes: int
    preprocess: Preprocess
    weights: str = "model.safetensors"
    names: str = "native"
    classes: tuple[str, ...] = ()
    in_features: int = 3
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``model.json`` to a folder, whole or not at all, and return its path.

        Raises:
            OSError: if it cannot be written.
        """
        path = Path(folder) / CARD
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")
        return path


def read_card(folder: str | os.PathLike[str]) -> Card:
    """Return the card in a folder.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged.
    """
    path = Path(folder) / CARD
    try:
        content = read_table(path)
        known: dict[str, Any] = {f.name: content[f.name] for f in fields(Card) if f.name in content}
        colors = {name: tuple(known["preprocess"][name]) for name in ("mean", "std")}
        preprocess = Preprocess(**known["preprocess"] | colors)
        known |= {"preprocess": preprocess, "classes": tuple(known.get("classes", ()))}
        return _checked(Card(**known))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} is no folder of a finished run: it has no {CARD}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        why = shown(" ".join(str(error).split()), 300)
        raise ValueError(f"{path} is damaged or no card of a network: {why}") from error


def _checked(card: Card) -> Card:
    """Return a card whose entries are of their kinds, and whose weights lie beside it.

    Raises:
        TypeError: if an entry is of another kind.
        ValueError: if the weights are elsewhere.
    """
    told: Any = card  # which a file may say otherwise than its types do
    texts = (told.name, told.weights, told.names, *told.classes)
    tables = (told.recipe, told.versions, told.metrics)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("name, weights, names and classes must be texts")
    if not all(isinstance(table, Mapping) for table in tables):
        raise TypeError("recipe, versions and metrics must be tables")
    checks.natural_int("num_classes", card.num_classes)
    checks.positive_int("in_features", card.in_features)
    if not is_beside(card.weights):
        raise ValueError(f"`weights` must be a file beside it, got {shown(card.weights)}")
    return card


def card_of(weights: str | os.PathLike[str]) -> tuple[Path, Card] | None:
    """Return the folder and the card that belong to weights: a run's folder, or its file of them.

    Returns:
        None where there is no card beside them.

    Raises:
        ValueError: if the card is damaged.
    """
    path = Path(weights)
    folder = path if path.is_dir() else path.parent
    if not (folder / CARD).is_file():
        return None
    card = read_card(folder)
    return (folder, card) if path.is_dir() or path.name in (card.weights, BEST) else None
