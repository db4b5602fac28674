"""From settings to a recipe, and the published recipes as values."""

from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType

from flaxblocks.train.data.augment import (
    CENTER_CROP,
    ColorJitter,
    Crop,
    Flip,
    Operation,
    RandomCrop,
)
from flaxblocks.train.data.autoaugment import RandAugment, autoaugment
from flaxblocks.train.data.growth import Growth
from flaxblocks.train.data.random_erasing import RandomErasing
from flaxblocks.train.data.timm_randaugment import TimmRandAugment
from flaxblocks.train.data.trivialaugment import trivialaugment
from flaxblocks.train.optim.averages import Average, RisingAverage, SparseAverage
from flaxblocks.train.optim.optimizers import (
    Algorithm,
    Mask,
    adamw,
    all_but_norms,
    everything,
    kernels_only,
    lamb,
    rmsprop,
    sgd,
    torch_rmsprop,
)
from flaxblocks.train.optim.schedules import Cosine, Decay, Schedule
from flaxblocks.train.run.recipe import REFERENCE_BATCH, Recipe
from flaxblocks.train.run.recipe_settings import RECIPE_SETTINGS
from flaxblocks.train.run.settings import Settings
from flaxblocks.train.step.losses import BinaryCrossEntropy, CrossEntropy, Loss
from flaxblocks.train.step.mixing import Mixing


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
        average=_average(settings),
        crop=_crop(settings),
        augmentations=tuple(_augmentations(settings)),
        size=settings.train_crop_size,
        growth=_growth(settings),
        repeats=settings.aug_repeats,
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
    if settings.opt == "lamb":
        return partial(lamb, **epsilon)
    if settings.opt in ("rmsprop", "rmsproptf"):
        kind = torch_rmsprop if settings.opt == "rmsprop" else rmsprop
        return partial(kind, momentum=settings.momentum, **epsilon)
    return partial(sgd, momentum=settings.momentum, nesterov=settings.opt == "sgd")


def _schedule(settings: Settings) -> Schedule:
    if settings.sched == "cosine":
        return Cosine(
            settings.warmup_epochs,
            settings.min_lr,
            settings.warmup_start,
            not settings.sched_on_updates,
            not settings.warmup_prefix,
        )
    if settings.sched == "step":
        return Decay(settings.decay_rate, settings.decay_epochs, settings.warmup_epochs)
    return Cosine(settings.warmup_epochs, floor=1.0)


def _loss(settings: Settings) -> Loss:
    if settings.bce:
        return BinaryCrossEntropy(settings.smoothing, settings.bce_target_thresh)
    return CrossEntropy(settings.smoothing)


def _mixing(settings: Settings) -> Mixing | None:
    if not settings.mixup and not settings.cutmix:
        return None
    return Mixing(settings.mixup, settings.cutmix)


def _average(settings: Settings) -> Average | None:
    if settings.model_ema is None:
        return None
    if settings.model_ema_every is None:
        return RisingAverage(settings.model_ema)
    return SparseAverage(settings.model_ema, settings.model_ema_every, settings.warmup_epochs)


def _crop(settings: Settings) -> Crop:
    if settings.crop == "center":
        return CENTER_CROP
    least, most = settings.scale
    return RandomCrop((least, most), interpolation=settings.train_interpolation)


def _growth(settings: Settings) -> Growth | None:
    if settings.grow_stages == 1:
        return None
    return Growth(settings.grow_stages, settings.grow_from, settings.grow_magnitude)


def _augmentations(settings: Settings) -> Iterator[Operation]:
    if settings.hflip:
        yield Flip(settings.hflip)
    if settings.aa:
        yield _automatic(settings.aa)
    if settings.color_jitter:
        strength = settings.color_jitter
        yield ColorJitter(strength, strength, strength)
    if settings.reprob:
        yield RandomErasing(settings.reprob, noise=settings.remode == "pixel")


AUTOMATIC: Mapping[str, Operation] = MappingProxyType(
    {"original": autoaugment, "ra": RandAugment(), "ta_wide": trivialaugment}
)
"""Automatic augmentation by timm's and torchvision's names."""


def _automatic(text: str) -> Operation:
    found = AUTOMATIC.get(text) or TimmRandAugment.named(text)
    if found is None:
        raise ValueError(
            f"`aa` must be {', '.join(AUTOMATIC)} or such as 'rand-m9-mstd0.5-inc1', got {text!r}"
        )
    return found


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {name: recipe_of(Settings.of(recipe=name)) for name in RECIPE_SETTINGS}
)
"""The recipes of `RECIPE_SETTINGS` as values."""

QUICK = RECIPES["quick"]
FINETUNE = RECIPES["finetune"]
RESNET50 = RECIPES["resnet50-torchvision"]
EFFICIENTNET = RECIPES["efficientnet-rmsprop"]
EFFICIENTNET_V2 = RECIPES["efficientnet-v2"]
CONVNEXT = RECIPES["convnext-adamw"]
