"""How networks are trained, as values."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import optax

from flaxblocks._base import checks
from flaxblocks.train.data.augment import (
    CENTER_CROP,
    ColorJitter,
    Crop,
    Flip,
    Operation,
    RandomCrop,
)
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
from flaxblocks.train.run.recipe_settings import RECIPE_SETTINGS
from flaxblocks.train.run.settings import Settings
from flaxblocks.train.step.losses import CROSS_ENTROPY, BinaryCrossEntropy, CrossEntropy, Loss
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


def recipe_of(settings: Settings) -> Recipe:
    """Return the recipe that settings describe.

    Raises:
        ValueError: if `aa` is not understood.
    """
    peak = settings.lr_base
    if settings.lr is not None:
        peak = settings.lr * REFERENCE_BATCH / settings.batch_size
    return Recipe(
        algorithm=_algorithm(settings),
        learning_rate=peak,
        schedule=_schedule(settings),
        epochs=settings.epochs,
        weight_decay=settings.weight_decay,
        decays=MASKS[settings.decay_on],
        layer_decay=settings.layer_decay,
        clip_norm=settings.clip_grad,
        loss=_loss(settings),
        mixing=_mixing(settings),
        average_decay=settings.model_ema,
        crop=CENTER_CROP if settings.crop == "center" else RandomCrop(area=_pair(settings.scale)),
        augmentations=tuple(_augmentations(settings)),
    )


MASKS: Mapping[str, Mask] = {
    "all": everything,
    "all-but-norms": all_but_norms,
    "kernels": kernels_only,
}


def _algorithm(settings: Settings) -> Algorithm:
    epsilon = {} if settings.opt_eps is None else {"epsilon": settings.opt_eps}
    if settings.opt == "adamw":
        return partial(adamw, **epsilon)
    if settings.opt == "rmsproptf":
        return partial(rmsprop, momentum=settings.momentum, **epsilon)
    return partial(sgd, momentum=settings.momentum, nesterov=settings.opt == "sgd")


def _schedule(settings: Settings) -> Schedule:
    if settings.sched == "cosine":
        return Cosine(settings.warmup_epochs, settings.min_lr)
    if settings.sched == "step":
        return Decay(settings.decay_rate, settings.decay_epochs, settings.warmup_epochs)
    return Cosine(settings.warmup_epochs, floor=1.0)


def _loss(settings: Settings) -> Loss:
    kind = BinaryCrossEntropy if settings.bce else CrossEntropy
    return kind(smoothing=settings.smoothing)


def _mixing(settings: Settings) -> Mixing | None:
    if not settings.mixup and not settings.cutmix:
        return None
    return Mixing(settings.mixup, settings.cutmix)


def _augmentations(settings: Settings) -> Iterator[Operation]:
    if settings.hflip:
        yield Flip(settings.hflip)
    if settings.aa == "original":
        yield autoaugment
    elif settings.aa:
        yield _randaugment(settings.aa)
    if settings.color_jitter:
        strength = settings.color_jitter
        yield ColorJitter(strength, strength, strength)
    if settings.reprob:
        yield RandomErasing(settings.reprob)


def _randaugment(text: str) -> RandAugment:
    """Return what timm calls ``"rand-m9-n2"``: magnitude 9, two operations."""
    found = re.fullmatch(r"rand-m(\d+(?:\.\d+)?)(?:-n(\d+))?", text)
    if found is None:
        raise ValueError(f"`aa` must be 'original' or such as 'rand-m9-n2', got {text!r}")
    return RandAugment(int(found[2] or 2), float(found[1]))


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    return values[0], values[1]


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {name: recipe_of(Settings.of(recipe=name)) for name in RECIPE_SETTINGS}
)
"""The recipes of `RECIPE_SETTINGS` as values."""

QUICK = RECIPES["quick"]
FINETUNE = RECIPES["finetune"]
RESNET50 = RECIPES["resnet50-torchvision"]
EFFICIENTNET = RECIPES["efficientnet-rmsprop"]
CONVNEXT = RECIPES["convnext-adamw"]
