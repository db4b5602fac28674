"""Where weights are and how images are prepared for them, before they are read."""

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from flaxblocks.models import PublishedWeights, list_models, model_info
from flaxblocks.preprocess import Preprocess
from flaxblocks.weights import download, hub, safetensors_files, torch_files

TORCHVISION = "torchvision:"
SUFFIXES = (safetensors_files.SUFFIX, safetensors_files.INDEX_SUFFIX, *torch_files.SUFFIXES)


@dataclass(frozen=True)
class Origin:
    """Where weights are, and what is known about them without reading them.

    Args:
        source: what `load_weights` takes.
        preprocess: how images are prepared for them.
        num_classes: outputs of their classifier; None where only the file tells.
    """

    source: str | os.PathLike[str]
    preprocess: Preprocess
    num_classes: int | None = None


def resolve(name: str, weights: str | os.PathLike[str]) -> Origin:
    """Return where a network's weights are, and what belongs to them.

    Args:
        name: one of `list_models`.
        weights: a tag that `model_info` lists, ``"default"``, or a source as `load_weights` takes
            it. A file that has the name of a published one is taken for it.

    Raises:
        ValueError: if the network is unknown or has no such weights.
    """
    record, text = model_info(name), os.fspath(weights)
    if text.startswith(TORCHVISION) and torchvision_weights(text) not in record.weights:
        raise ValueError(f"`weights` must be for {name}, got {text!r}")
    for published in record.weights:
        if text in (published.source, f"{TORCHVISION}{name}/{published.tag}"):
            return _published(published)
    if text.startswith(hub.SCHEME):
        config = hub.read_config(text.removeprefix(hub.SCHEME))
        return Origin(text, Preprocess.from_timm(config.get("pretrained_cfg", config)))
    if text.startswith(download.SCHEMES) or text.endswith(SUFFIXES):
        same = (w for w in record.weights if Path(w.source).name == Path(text).name)
        published = next(same, None)
        return Origin(weights, published.preprocess if published else record.preprocess)
    return _published(record.published(text))


def _published(weights: PublishedWeights) -> Origin:
    return Origin(weights.source, weights.preprocess, weights.num_classes)


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
