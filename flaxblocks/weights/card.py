"""A trained network's card: all that using its weights takes, in the folder beside them."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from flaxblocks._base.replacing import replacing
from flaxblocks.preprocess import Preprocess

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
    recipe: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``model.json`` to a folder, whole or not at all, and return its path.

        Raises:
            OSError: if it cannot be written.
        """
        path = Path(folder) / CARD
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        return path


def read_card(folder: str | os.PathLike[str]) -> Card:
    """Return the card in a folder.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged.
    """
    path = Path(folder) / CARD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name: content[f.name] for f in fields(Card) if f.name in content}
        colors = {name: tuple(known["preprocess"][name]) for name in ("mean", "std")}
        preprocess = Preprocess(**known["preprocess"] | colors)
        return Card(
            **known | {"preprocess": preprocess, "classes": tuple(known.get("classes", ()))}
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} is no folder of a finished run: it has no {CARD}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or no card of a network: {error}") from error


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
