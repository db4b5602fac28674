"""Where weights are and how images are prepared for them, before they are read."""

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from flaxblocks.imagenet import CLASSES, class_names
from flaxblocks.models import PublishedWeights, list_models, model_info
from flaxblocks.models.registry import records
from flaxblocks.preprocess import Preprocess
from flaxblocks.weights import download, hub, safetensors_files, torch_files
from flaxblocks.weights.arrays import shown
from flaxblocks.weights.card import CARD, Card, card_of
from flaxblocks.weights.twins import networks_of

TORCHVISION = "torchvision:"
SUFFIXES = (safetensors_files.SUFFIX, safetensors_files.INDEX_SUFFIX, *torch_files.SUFFIXES)


@dataclass(frozen=True)
class Origin:
    """Where weights are, and what is known about them without reading them.

    Args:
        name: the network that they are of.
        source: what `load_weights` takes.
        preprocess: how images are prepared for them.
        num_classes: outputs of their classifier; None where only the file tells.
        classes: what the outputs are called, in order; empty where nothing tells.
    """

    name: str
    source: str | os.PathLike[str]
    preprocess: Preprocess
    num_classes: int | None = None
    classes: tuple[str, ...] = ()

    def labels(self, num_classes: int) -> tuple[str, ...]:
        """Return what that many outputs are called; ImageNet's names for 1000, if nothing tells."""
        if not self.classes and num_classes == CLASSES:
            return class_names()
        return self.classes if len(self.classes) == num_classes else ()


def resolve(name: str | None, weights: str | os.PathLike[str]) -> Origin:
    """Return where a network's weights are, and what belongs to them.

    Args:
        name: one of `list_models`; None where the weights tell, as a run's folder and a repository
            of the Hub do.
        weights: a tag that `model_info` lists, ``"default"``, or a source as `load_weights` takes
            it. A file that has the name of a published one is taken for it.

    Raises:
        FileNotFoundError: if the weights are a folder without `model.json` or `config.json`.
        ValueError: if the network is unknown, has no such weights, or is needed and not given.
    """
    text = os.fspath(weights)
    found = card_of(weights)
    if found is not None:
        return _of_run(name, weights, *found)
    if hub.is_repository(weights):
        return _in_repository(name, text)
    if Path(weights).is_dir():
        raise FileNotFoundError(f"`weights` must be a finished run's folder, {text} has no {CARD}")
    if text.startswith(TORCHVISION):
        name = name or text.removeprefix(TORCHVISION).partition("/")[0]
    if name is None:
        raise ValueError(f"`model` must name the network: the weights {text!r} do not tell it")
    return _of_network(name, weights)


def _of_run(name: str | None, weights: str | os.PathLike[str], folder: Path, card: Card) -> Origin:
    if name not in (None, card.name):
        raise ValueError(f"`weights` must be for {name}, {folder} holds {card.name}")
    source = folder / card.weights if Path(weights).is_dir() else weights
    return Origin(card.name, source, card.preprocess, card.num_classes, card.classes)


def _in_repository(name: str | None, source: str) -> Origin:
    for record in records().values() if name is None else (model_info(name),):
        for published in record.weights:
            if published.source == source:
                return _published(record.name, published)
    config = hub.read_config(source)
    details = config.get("pretrained_cfg", config)
    known = networks_of(config)
    if name is None and not known:
        raise ValueError(
            f"`model` must name the network of {source}: no network here is what timm calls "
            f"{shown(repr(config.get('architecture')))}"
        )
    try:
        preprocess = Preprocess.from_timm(details)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`weights` {source} has a config.json that does not say how images are prepared: "
            f"{shown(str(error), 300)}"
        ) from error
    labels = config.get("label_names")
    return Origin(
        name or known[0],
        source,
        preprocess,
        classes=tuple(cast("list[str]", labels)) if isinstance(labels, list) else (),
    )


def _of_network(name: str, weights: str | os.PathLike[str]) -> Origin:
    record, text = model_info(name), os.fspath(weights)
    if text.startswith(TORCHVISION) and torchvision_weights(text) not in record.weights:
        raise ValueError(f"`weights` must be for {name}, got {text!r}")
    for published in record.weights:
        if text in (published.source, f"{TORCHVISION}{name}/{published.tag}"):
            return _published(name, published)
    if text.startswith(download.SCHEMES) or text.endswith(SUFFIXES):
        same = (w for w in record.weights if Path(w.source).name == Path(text).name)
        published = next(same, None)
        return Origin(name, weights, published.preprocess if published else record.preprocess)
    return _published(name, record.published(text))


def _published(name: str, weights: PublishedWeights) -> Origin:
    return Origin(name, weights.source, weights.preprocess, weights.num_classes)


def torchvision_weights(source: str) -> PublishedWeights:
    """Return what ``"torchvision:resnet50/IMAGENET1K_V2"`` stands for.

    Raises:
        ValueError: if torchvision publishes none of that name; the message lists the nearest.
    """
    network, _, tag = source.removeprefix(TORCHVISION).partition("/")
    names = [name for name in list_models() if model_info(name).source == "torchvision"]
    if network not in names:
        near = get_close_matches(network, names, n=5, cutoff=0.5)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ValueError(f"`source` names no network of torchvision's: {network!r}{hint}")
    for weights in model_info(network).weights:
        if weights.tag == tag:
            return weights
    known = ", ".join(f"{TORCHVISION}{network}/{w.tag}" for w in model_info(network).weights)
    raise ValueError(f"`source` must be {known}, got {source!r}")
