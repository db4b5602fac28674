"""Writing a network as the Hugging Face Hub and timm lay it out."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from flaxblocks._base.replacing import replacing
from flaxblocks.models import Backbone
from flaxblocks.preprocess import Preprocess
from flaxblocks.weights.adapt import first_kernels
from flaxblocks.weights.files import save_weights
from flaxblocks.weights.hub import CONFIG, FILES
from flaxblocks.weights.state_dict import named_entries
from flaxblocks.weights.twins import timm_twin


def save_pretrained(
    model: nnx.Module,
    folder: str | os.PathLike[str],
    *,
    preprocess: Preprocess,
    classes: Sequence[str] = (),
) -> Path:
    """Write a network to a folder in the Hugging Face Hub's layout, which timm takes.

    The folder gets ``config.json`` and ``model.safetensors`` with timm's names. timm makes the same
    network of it by ``timm.create_model("local-dir:FOLDER", pretrained=True)``, or, once it is
    uploaded, by ``"hf-hub:OWNER/NAME"``; so do `create_model` and `load_weights` here.

    >>> run = fb.load_run("run")  # doctest: +SKIP
    >>> fb.save_pretrained(
    ...     run.model, "hub", preprocess=run.preprocess, classes=run.classes
    ... )  # doctest: +SKIP

    Args:
        model: a network that `create_model` made.
        folder: where to; it is made if it does not exist.
        preprocess: how images are prepared.
        classes: names of the outputs, in order.

    Returns:
        The folder.

    Raises:
        OSError: if it cannot be written.
        ValueError: if timm has no such network, or `classes` are not as many as the outputs.
    """
    config = _config(model, preprocess, classes)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # The config is written first and appears last: it makes the folder a repository.
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_weights(model, folder / FILES[0], names="timm")
    return folder


def _config(model: nnx.Module, preprocess: Preprocess, classes: Sequence[str]) -> dict[str, Any]:
    if not isinstance(model, Backbone) or model.name is None:
        raise ValueError(
            f"`model` must be a network that create_model made, got {type(model).__name__}"
        )
    if classes and len(classes) != model.num_classes:
        raise ValueError(
            f"`classes` must name the {model.num_classes} outputs, got {len(classes)} names"
        )
    architecture, arguments = timm_twin(model.name)
    if model.in_features != 3:
        arguments = {**arguments, "in_chans": model.in_features}
    config: dict[str, Any] = {
        "architecture": architecture,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
    }
    if classes:
        config["label_names"] = list(classes)
    if arguments:
        config["model_args"] = dict(arguments)
    return config | {"pretrained_cfg": _details(model, preprocess)}


def _details(model: Backbone, preprocess: Preprocess) -> dict[str, Any]:
    """Return timm's `pretrained_cfg`."""
    classifier = model.head.classifier
    details: dict[str, Any] = {
        "custom_load": False,
        "input_size": [model.in_features, preprocess.crop, preprocess.crop],
        "fixed_input_size": False,
        "interpolation": preprocess.interpolation,
        "crop_pct": crop_fraction(preprocess),
        "crop_mode": "squash" if preprocess.squash else "center",
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "num_classes": model.num_classes,
        "first_conv": next(_names_of(model, first_kernels(model)[0])),
    }
    if classifier is not None:
        details["classifier"] = next(_names_of(model, classifier.kernel))
    return details


def _names_of(model: Backbone, variable: nnx.Variable[Any]) -> Iterator[str]:
    for name, entry in named_entries(model, "timm").items():
        if entry.variable is variable:
            yield name.removesuffix(".weight")


def crop_fraction(preprocess: Preprocess) -> float:
    """Return the part of a resized image that is kept, so that timm resizes to the same size.

    >>> crop_fraction(Preprocess(256, 224)), crop_fraction(Preprocess(232, 224))
    (0.875, 0.9655)
    """
    exact = preprocess.crop / preprocess.resize
    for digits in range(3, 9):
        if math.floor(preprocess.crop / round(exact, digits)) == preprocess.resize:
            return round(exact, digits)
    return preprocess.crop / (preprocess.resize + 0.5)  # timm rounds down
