"""What is likely a mistake about a run, said before it begins."""

from collections.abc import Iterator

import numpy as np

from flaxblocks.train.data.image_folder import ImageFolder
from flaxblocks.train.data.source import Source
from flaxblocks.train.data.tar_shards import TarShards
from flaxblocks.train.run.recipe import REFERENCE_BATCH, Recipe

SAMPLES = 200  # steps at which a schedule is looked at


def warnings(recipe: Recipe, images: Source, steps: int, batch_size: int) -> Iterator[str]:
    """Yield a sentence for what is likely a mistake, with its numbers.

    Args:
        recipe: how the network is trained.
        images: to train on.
        steps: length of the run.
        batch_size: images in a step.
    """
    warmup = getattr(recipe.schedule, "warmup", 0.0)
    if warmup >= recipe.epochs:
        yield (
            f"the warm-up of {warmup:g} epochs is not over when the run ends, after {recipe.epochs}"
        )
    rate = recipe.learning_rates(steps, batch_size)
    peak = recipe.learning_rate * batch_size / REFERENCE_BATCH
    rates = [rate(int(step)) for step in np.linspace(0, steps - 1, SAMPLES)]
    highest = float(np.max(np.asarray(rates)))
    if highest < 0.9 * peak:
        yield f"the learning rate rises to {highest:.3g}, never to its peak of {peak:.3g}"
    few = [name for name, count in _per_class(images) if count == 1]
    if few:
        others = f", as have {len(few) - 1} others" if len(few) > 1 else ""
        yield f"the class {few[0]!r} has 1 image to learn from{others}"


def _per_class(images: Source) -> list[tuple[str, int]]:
    """Return the classes with their numbers of images, where the source can tell."""
    if not isinstance(images, ImageFolder | TarShards):
        return []
    return list(zip(images.classes, images.per_class(), strict=True))
