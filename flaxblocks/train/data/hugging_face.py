"""Datasets of the Hugging Face Hub as sources of images."""

from collections.abc import Mapping
from typing import Any

from flaxblocks._base.optional import required
from flaxblocks.train.data.records import Records
from flaxblocks.train.data.split import TRAINING, VALIDATION

PREFIX = "hf:"


def hugging_face(name: str) -> tuple[Records, Records | None]:
    """Return the images of a dataset to train on, and those to judge by if there are any.

    The image and the label are the columns of the types ``Image`` and ``ClassLabel``.

    Args:
        name: as `datasets.load_dataset` takes it, ``"beans"`` or ``"OWNER/NAME"``.

    Raises:
        ImportError: if `datasets` is not installed.
        ValueError: if the dataset has no such columns, or no split to train on.
    """
    datasets = required("datasets", "datasets", "a dataset of the Hub needs", install="datasets")
    splits: Mapping[str, Any] = datasets.load_dataset(name)
    training = _split(splits, TRAINING)
    if training is None:
        raise ValueError(f"`root` {name} must have the split train, it has {', '.join(splits)}")
    validation = _split(splits, (*VALIDATION, "test"))
    return records(training), None if validation is None else records(validation)


def records(dataset: Any) -> Records:
    """Return the images of a split.

    Args:
        dataset: a `datasets.Dataset`.

    Raises:
        ValueError: if it has no column of images, or none of labels.
    """
    kinds = {type(feature).__name__: column for column, feature in dataset.features.items()}
    if not {"Image", "ClassLabel"} <= kinds.keys():
        raise ValueError(
            "`dataset` must have a column of the type Image and one of the type ClassLabel, got "
            f"{', '.join(f'{column}: {kind}' for kind, column in kinds.items())}"
        )
    names = dataset.features[kinds["ClassLabel"]].names
    image, label = kinds["Image"], kinds["ClassLabel"]
    return Records(dataset, len(names), classes=names, image=image, label=label)


def _split(splits: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((splits[name] for name in names if name in splits), None)
