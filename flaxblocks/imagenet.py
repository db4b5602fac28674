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
    return tuple(
        files("flaxblocks").joinpath("imagenet_classes.txt").read_text("utf-8").split("\n")[:-1]
    )
