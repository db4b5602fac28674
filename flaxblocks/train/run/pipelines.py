"""The batches of a run: those to train on, and those to judge by."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flaxblocks.preprocess.transform import Preprocess
from flaxblocks.train.data.batches import evaluation_batches, training_batches
from flaxblocks.train.data.source import Source
from flaxblocks.train.data.unreadable import UnreadableImages
from flaxblocks.train.run.recipe import Recipe


@dataclass(frozen=True)
class Pipelines:
    """Makes the batches of a run.

    Args:
        images: to train on.
        validation: to judge by; None for no evaluation.
        recipe: says how training images are augmented.
        preprocess: says how others are prepared.
        batch_size: images in a batch, over all processes.
        workers: threads that read images, see `training_batches`.
        seed: seed of the order of the images and their augmentation.

    Attributes:
        unreadable: images that cannot be read.
    """

    images: Source
    validation: Source | None
    recipe: Recipe
    preprocess: Preprocess
    batch_size: int
    workers: int | None = None
    seed: int = 0
    unreadable: UnreadableImages = field(init=False)

    def __post_init__(self):
        total = len(self.images) + (len(self.validation) if self.validation else 0)
        object.__setattr__(self, "unreadable", UnreadableImages(total))

    @property
    def per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return len(self.images) // self.batch_size

    def training(self, *, last: bool = False) -> Any:
        """Return the batches to train on, see `training_batches`.

        Args:
            last: whether all of them are augmented as those of the last epoch.

        Raises:
            ValueError: if the images are fewer than a batch.
        """
        augment = partial(self.recipe.augment, self.preprocess.crop, self.preprocess.channels)
        return training_batches(
            self.images,
            augment(self.recipe.epochs - 1) if last else augment,
            batch_size=self.batch_size,
            unreadable=self.unreadable,
            repeats=self.recipe.repeats,
            seed=self.seed,
            workers=self.workers,
        )

    def evaluation(self, images: Source) -> Any:
        """Return the batches of images to judge by, see `evaluation_batches`."""
        return evaluation_batches(
            images,
            self.preprocess,
            batch_size=self.batch_size,
            unreadable=self.unreadable,
            workers=self.workers,
        )
