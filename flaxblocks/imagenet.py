"""What the 1000 classes of ImageNet are called."""

from functools import cache
from importlib.resources import files

CLASSES = 1000


@cache
def class_names() -> tuple[str, ...]:
    """Return the classes' names in the order of a classifier's outputs.

    >>> class_names()[:2]
    ('tench', 'goldfish')

    Source: torchvision 0.28, the `categories` of its weights' metadata; Russakovsky et al. 2015.
    """
    return _lines("imagenet_classes.txt")


@cache
def synsets() -> tuple[str, ...]:
    """Return what the classes' folders are called, in the order of a classifier's outputs.

    >>> synsets()[:2]
    ('n01440764', 'n01443537')

    Source: the identifiers in WordNet of the 1000 classes of ILSVRC 2012.
    """
    return _lines("imagenet_synsets.txt")


def _lines(name: str) -> tuple[str, ...]:
    return tuple(files("flaxblocks").joinpath(name).read_text("utf-8").split("\n")[:-1])
