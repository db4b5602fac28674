"""The augmentations that recipes name."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from flaxblocks.train.data.augment import Augment, ColorJitter, Operation, RandomCrop, flip
from flaxblocks.train.data.autoaugment import RandAugment, autoaugment
from flaxblocks.train.data.random_erasing import RandomErasing

AUGMENTATIONS: Mapping[str, Callable[[int], Operation]] = MappingProxyType(
    {
        "crop": RandomCrop,
        "flip": lambda size: flip,
        "jitter": lambda size: ColorJitter(),
        "autoaugment": lambda size: autoaugment,
        "randaugment": lambda size: RandAugment(),
        "erase": lambda size: RandomErasing(),
    }
)
"""Each as a function of the height and width of the images, in pixels."""


def make_augment(names: Sequence[str], size: int) -> Augment:
    """Return augmentations by name, such as a recipe's.

    Without ``crop`` the largest square in the middle is resized.

    >>> len(make_augment(("crop", "flip"), size=32).operations)
    2

    Args:
        names: keys of `AUGMENTATIONS`, in the order in which they are done.
        size: height and width of the result, in pixels.

    Raises:
        ValueError: if a name is unknown.
    """
    for name in names:
        if name not in AUGMENTATIONS:
            raise ValueError(f"`names` must be of {', '.join(AUGMENTATIONS)}, got {name!r}")
    operations = [AUGMENTATIONS[name](size) for name in names]
    if "crop" not in names:
        operations.insert(0, RandomCrop(size, area=(1.0, 1.0), aspect=(1.0, 1.0)))
    return Augment(operations)
