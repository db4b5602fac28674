"""What torchvision and timm say about their networks, read from a table of each.

A table has a line for each network: its size, and its weights with tag, file (none where they are
on the hub under the network's name), preprocessing, number of classes, license, top-1 and top-5
accuracy, mean intersection over union and pixel accuracy, the default weights first.

Source: torchvision 0.28, `torchvision.models.get_model_weights`; timm 1.0.31, the
`pretrained_cfg` of its networks, and its results/results-imagenet.csv, where it evaluated them
at the resolution that the configuration names. Multiply-adds are counted by `flops`. timm's
rows are written by `benchmarks/timm_facts.py`.
"""

import json
from importlib.resources import files
from typing import Any

from flaxblocks.models.record import PublishedWeights
from flaxblocks.preprocess.transform import MEAN, STD, Preprocess

TORCHVISION_URL = "https://download.pytorch.org/models/"
HUB = "hf-hub:"

NORMALIZATIONS = {
    "imagenet": (MEAN, STD),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def read(source: str) -> dict[str, dict[str, Any]]:
    """Return the arguments of `ModelRecord` that a source's table tells, by network."""
    table = json.loads(files("flaxblocks.models").joinpath(f"{source}.json").read_text("utf-8"))
    return {name: _facts(name, **row) for name, row in table.items()}


def _facts(
    name: str, weights: list[list[Any]], preprocess: str | None = None, **size: int
) -> dict[str, Any]:
    published = tuple(_weights(name, *columns) for columns in weights)
    first = published[0].preprocess if preprocess is None else _preprocess(preprocess)
    return {"weights": published, "preprocess": first, **size}


def _weights(
    name: str, tag: str, file: str | None, preprocess: str, *others: Any
) -> PublishedWeights:
    if file is None:
        source = f"{HUB}{name}.{tag}"
    else:
        source = file if "://" in file else TORCHVISION_URL + file
    return PublishedWeights(tag, source, _preprocess(preprocess), *others)


def _preprocess(text: str) -> Preprocess:
    """Return the preprocessing written as ``"256 224 bicubic imagenet squash"``."""
    resize, crop, interpolation, colors, *switches = text.split()
    mean, std = NORMALIZATIONS[colors]
    switched: Any = dict.fromkeys(switches, True)
    return Preprocess(int(resize), int(crop), interpolation, mean, std, **switched)  # pyright: ignore[reportArgumentType]
