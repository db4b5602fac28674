"""How published networks were trained, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import optax

from flaxblocks._base import checks
from flaxblocks.train.data.augment import CENTER_CROP, Crop, Operation, RandomCrop, flip
from flaxblocks.train.data.autoaugment import RandAugment, autoaugment
from flaxblocks.train.data.random_erasing import RandomErasing
from flaxblocks.train.optim.groups import scale_layers
from flaxblocks.train.optim.optimizers import (
    Algorithm,
    Mask,
    adamw,
    all_but_norms,
    everything,
    kernels_only,
    rmsprop,
    sgd,
)
from flaxblocks.train.optim.schedules import Cosine, Decay, Schedule
from flaxblocks.train.step.losses import CROSS_ENTROPY, CrossEntropy, Loss
from flaxblocks.train.step.mixing import Mixing

REFERENCE_BATCH = 256  # images; learning rates are given for it


@dataclass(frozen=True)
class Recipe:
    """Everything about a training run but the network and the data.

    >>> recipe = RESNET50
    >>> rate = recipe.learning_rates(total_steps=9000, batch_size=1024)
    >>> round(float(rate(0)), 6), round(float(rate(3000)), 6)
    (0.4, 0.04)

    Args:
        algorithm: the optimizer.
        learning_rate: its peak for a batch of 256; it grows linearly with the batch.
        schedule: the learning rate over the run.
        epochs: length of the run.
        weight_decay: strength of the weight decay.
        decays: which parameters decay.
        layer_decay: factor of the learning rate from each layer to the one before it, see
            `scale_layers`; None for one learning rate.
        clip_norm: largest norm of the whole gradient; None for no limit.
        loss: what is minimized.
        mixing: Mixup and CutMix; None for neither.
        average_decay: weight of the past in the moving average; None for no average.
        crop: cuts the training images to the network's size.
        augmentations: further random operations on each training image, in order.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a number is out of range.
    """

    algorithm: Algorithm
    learning_rate: float
    schedule: Schedule
    epochs: int
    weight_decay: float = 0.0
    decays: Mask = everything
    layer_decay: float | None = None
    clip_norm: float | None = None
    loss: Loss = CROSS_ENTROPY
    mixing: Mixing | None = None
    average_decay: float | None = None
    crop: Crop = CENTER_CROP
    augmentations: tuple[Operation, ...] = ()

    def __post_init__(self):
        checks.at_least_0("learning_rate", self.learning_rate)
        checks.positive_int("epochs", self.epochs)
        checks.at_least_0("weight_decay", self.weight_decay)
        checks.function("loss", self.loss)
        for name in ("average_decay", "layer_decay"):
            if getattr(self, name) is not None:
                checks.fraction(name, getattr(self, name))
        if self.clip_norm is not None:
            checks.at_least_0("clip_norm", self.clip_norm)

    def learning_rates(self, total_steps: int, batch_size: int) -> optax.Schedule:
        """Return the learning rate as a function of the number of updates so far.

        Args:
            total_steps: number of updates in the run.
            batch_size: images in each, over all devices and accumulated parts.

        Raises:
            TypeError: if an argument is not an integer.
            ValueError: if one is below 1.
        """
        checks.positive_int("total_steps", total_steps)
        checks.positive_int("batch_size", batch_size)
        peak = self.learning_rate * batch_size / REFERENCE_BATCH
        return self.schedule(peak, total_steps, self.epochs)

    def optimizer(self, total_steps: int, batch_size: int) -> optax.GradientTransformation:
        """Return the optax transformation; see `learning_rates` for the arguments."""
        rates = self.learning_rates(total_steps, batch_size)
        update = self.algorithm(rates, self.weight_decay, self.decays)
        if self.clip_norm is not None:
            update = optax.chain(optax.clip_by_global_norm(self.clip_norm), update)
        if self.layer_decay is not None:
            update = optax.chain(update, scale_layers(self.layer_decay))
        return update


RESNET50 = Recipe(
    algorithm=partial(sgd, momentum=0.9),
    learning_rate=0.1,
    schedule=Decay(0.1, every=30),
    epochs=90,
    weight_decay=1e-4,
    crop=RandomCrop(),
    augmentations=(flip,),
)
"""torchvision's classification reference, which made ResNet-50's first weights."""

EFFICIENTNET = Recipe(
    algorithm=partial(rmsprop, decay=0.9, momentum=0.9, epsilon=1e-3),
    learning_rate=0.016,
    schedule=Decay(0.97, every=2.4, warmup=5),
    epochs=350,
    weight_decay=1e-5,
    decays=all_but_norms,
    loss=CrossEntropy(smoothing=0.1),
    average_decay=0.9999,
    crop=RandomCrop(),
    augmentations=(flip, autoaugment),
)
"""Tan and Le 2019, section 5, and the released code."""

CONVNEXT = Recipe(
    algorithm=adamw,
    learning_rate=2.5e-4,  # 4e-3 for a batch of 4,096
    schedule=Cosine(warmup=20),
    epochs=300,
    weight_decay=0.05,
    decays=kernels_only,
    loss=CrossEntropy(smoothing=0.1),
    mixing=Mixing(mixup_alpha=0.8, cutmix_alpha=1.0),
    average_decay=0.9999,
    crop=RandomCrop(),
    augmentations=(flip, RandAugment(), RandomErasing()),
)
"""Liu et al. 2022, appendix A.1."""

QUICK = Recipe(
    algorithm=adamw,
    learning_rate=2e-2,
    schedule=Cosine(warmup=1),
    epochs=15,
    weight_decay=0.05,
    decays=kernels_only,
)
"""For a small network on small images: a first run, and the tests."""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "resnet50-torchvision": RESNET50,
        "efficientnet-rmsprop": EFFICIENTNET,
        "convnext-adamw": CONVNEXT,
        "quick": QUICK,
    }
)
"""The recipes by name, for the command line."""
