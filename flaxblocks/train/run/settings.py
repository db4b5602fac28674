"""What can be set about a training run: one typed value, from recipe, file and command line.

The names are those of timm's training script where they mean the same. Nothing here imports JAX.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any, cast

from flaxblocks._base import checks
from flaxblocks.train.run.recipe_settings import RECIPE_SETTINGS
from flaxblocks.train.run.setting_values import checked, setting, toml

OPTIMIZERS = ("adamw", "lamb", "momentum", "rmsprop", "rmsproptf", "sgd")
SCHEDULES = ("constant", "cosine", "step")
DECAYING = ("all", "all-but-norms", "kernels")
CROPS = ("center", "random")
LOGS = ("jsonl", "tensorboard", "wandb", "trackio")
DTYPES = ("float32", "bfloat16")
INTERPOLATIONS = ("bilinear", "bicubic", "random")
ERASING = ("pixel", "const")
METRICS = ("accuracy", "accuracy5", "loss")

GROWING = ("grow_stages", "grow_from", "aug_repeats", "mesh_groups")
SIZES = ("train_crop_size", "model_ema_every")
FRACTIONS = ("hflip", "color_jitter", "reprob", "smoothing", "momentum", "min_lr", "warmup_start")


@dataclass(frozen=True)
class Settings:
    """What can be set about a run; the command line's help says what each means.

    >>> Settings.of(recipe="quick", epochs=3).lr_base
    0.02

    Raises:
        ValueError: if a number is out of range.
    """

    recipe: str = setting(
        str, "finetune", "whose settings are the defaults", choices=tuple(RECIPE_SETTINGS)
    )
    model: str | None = setting(
        str, None, "one of `flaxblocks models`; not needed where the weights tell"
    )
    weights: str | None = setting(str, None, "initial weights")
    key: str | None = setting(
        str, None, "where in a checkpoint of torch.save the weights are, such as model_ema"
    )
    batch_size: int = setting(int, 64, "images in a step, over all devices")
    accumulate: int = setting(int, 1, "parts of a batch whose gradients are summed")
    num_classes: int | None = setting(int, None, "outputs; those of the images where absent")
    input_size: int | None = setting(int, None, "pixels; the weights' own where absent")
    in_chans: int = setting(int, 3, "3 for images in color, 1 in gray", choices=(1, 3))
    mean: tuple[float, ...] | None = setting(float, None, "of the pixels, from 0 to 1", many=True)
    std: tuple[float, ...] | None = setting(float, None, "deviation of the pixels", many=True)
    seed: int = setting(int, 0, "of initialization, order and augmentation")

    epochs: int = setting(int, 20, "length of the run")
    opt: str = setting(str, "sgd", "optimizer; sgd has Nesterov's momentum", choices=OPTIMIZERS)
    lr: float | None = setting(float, None, "learning rate at its peak; in place of --lr-base")
    lr_base: float = setting(float, 0.1, "learning rate of a batch of 256; others in proportion")
    momentum: float = setting(float, 0.9, "of the optimizer")
    opt_eps: float | None = setting(float, None, "epsilon; the optimizer's own where absent")
    weight_decay: float = setting(float, 0.0, "strength of the weight decay")
    decay_on: str = setting(str, "kernels", "which parameters decay", choices=DECAYING)
    sched: str = setting(str, "cosine", "learning rate over the run", choices=SCHEDULES)
    warmup_epochs: float = setting(float, 0.0, "epochs in which the learning rate rises from 0")
    warmup_start: float = setting(float, 0.0, "first learning rate, as a part of the peak")
    warmup_prefix: bool = setting(bool, True, "cosine begins after the warm-up, not with it")
    sched_on_updates: bool = setting(bool, True, "cosine changes at each step, not each epoch")
    min_lr: float = setting(float, 0.0, "last learning rate of cosine, as a part of the peak")
    decay_epochs: float = setting(float, 30.0, "of step: epochs from one decay to the next")
    decay_rate: float = setting(float, 0.1, "of step: factor of each decay")
    layer_decay: float | None = setting(
        float, None, "factor of the learning rate from each layer to the one before it"
    )
    clip_grad: float | None = setting(float, None, "largest norm of the gradient")
    model_ema: float | None = setting(
        float, None, "decay of a moving average of the weights, which is evaluated and kept"
    )

    model_ema_every: int | None = setting(
        int, None, "steps from one update of the average to the next, as torchvision has it"
    )

    smoothing: float = setting(float, 0.0, "part of the label spread over all classes")
    bce: bool = setting(bool, False, "binary cross-entropy")
    bce_target_thresh: float | None = setting(
        float, None, "of bce: targets above it become 1, others 0"
    )
    mixup: float = setting(float, 0.0, "alpha of Mixup")
    cutmix: float = setting(float, 0.0, "alpha of CutMix")
    crop: str = setting(str, "random", "how training images are cut", choices=CROPS)
    scale: tuple[float, ...] = setting(float, (0.08, 1.0), "area of a random crop", many=True)
    train_interpolation: str = setting(
        str, "bilinear", "how random crops are resized", choices=INTERPOLATIONS
    )
    train_crop_size: int | None = setting(
        int, None, "pixels of training images; the input size where absent"
    )
    grow_stages: int = setting(int, 1, "stages in which training images grow; 1 for none")
    grow_from: int = setting(int, 128, "pixels from which they grow")
    grow_magnitude: float | None = setting(float, None, "RandAugment's magnitude at first")
    aug_repeats: int = setting(int, 1, "times that an image comes in a batch")
    hflip: float = setting(float, 0.5, "how often an image is mirrored")
    color_jitter: float = setting(float, 0.0, "strength of random changes of color")
    aa: str = setting(str, "", "original (AutoAugment), ra, ta_wide, or as rand-m9-mstd0.5-inc1")
    reprob: float = setting(float, 0.0, "how often a rectangle is erased")
    remode: str = setting(str, "pixel", "by noise, or the mean color", choices=ERASING)
    drop: float | None = setting(float, None, "dropout before the classifier")
    drop_path: float | None = setting(float, None, "stochastic depth")

    train: tuple[str, ...] = setting(str, (), "only these modules: head stages.3", many=True)
    freeze: tuple[str, ...] = setting(str, (), "not these modules: stem,stages.0-2", many=True)
    freeze_bn: bool = setting(bool, False, "BatchNorms keep parameters and statistics")
    dtype: str = setting(str, "float32", "of the computation", choices=DTYPES)
    remat: bool = setting(bool, False, "blocks are computed again for the gradient: less memory")
    recalibrate: int | None = setting(
        int, None, "training batches that give BatchNorms their statistics; absent: in short runs"
    )

    sync_bn: str = setting(
        str, "global", "who shares BatchNorms' statistics: global, replica (nobody), or 4 devices"
    )

    mesh_groups: int = setting(
        int, 1, "groups of devices, each with all of the parameters", result=False
    )
    fsdp: bool = setting(
        bool, False, "divide parameters and optimizer over a group's devices", result=False
    )
    eval_metric: str = setting(
        str, "accuracy", "what the best weights are best in", choices=METRICS, result=False
    )
    save_best: bool = setting(bool, True, "keep the best evaluated weights apart", result=False)
    workers: int | None = setting(int, None, "threads that read images", result=False)
    checkpoint_hist: int = setting(int, 3, "checkpoints that are kept", result=False)
    save_every: int | None = setting(
        int, None, "steps between checkpoints; an epoch where absent", result=False
    )
    log_every: int = setting(int, 50, "steps between lines of the log", result=False)
    log: tuple[str, ...] = setting(
        str, ("tensorboard",), "beside jsonl, always written", many=True, choices=LOGS, result=False
    )

    def __post_init__(self):
        for name in (
            "batch_size",
            "accumulate",
            "epochs",
            "checkpoint_hist",
            "log_every",
            *GROWING,
        ):
            checks.positive_int(name, getattr(self, name))
        for name in ("num_classes", "input_size", "workers", "save_every", *SIZES):
            if getattr(self, name) is not None:
                checks.positive_int(name, getattr(self, name))
        checks.natural_int("seed", self.seed)
        if self.recalibrate is not None:
            checks.natural_int("recalibrate", self.recalibrate)
        for name in FRACTIONS:
            checks.fraction(name, getattr(self, name))
        for name in ("drop", "drop_path", "model_ema", "layer_decay", "bce_target_thresh"):
            if getattr(self, name) is not None:
                checks.fraction(name, getattr(self, name))
        for name in ("lr", "clip_grad", "opt_eps", "grow_magnitude"):
            if getattr(self, name) is not None:
                checks.at_least_0(name, getattr(self, name))
        for name in ("lr_base", "weight_decay", "warmup_epochs", "mixup", "cutmix"):
            checks.at_least_0(name, getattr(self, name))
        if self.sync_bn not in ("global", "replica") and not self.sync_bn.isdecimal():
            raise ValueError(
                f"`sync_bn` must be global, replica or a number of devices, got {self.sync_bn!r}"
            )
        if self.train and self.freeze:
            raise ValueError("give `train` or `freeze`, got both")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(
                f"`scale` must be two numbers between 0 and 1, in order, got {self.scale}"
            )

    @classmethod
    def of(cls, config: Mapping[str, Any] | None = None, **given: Any) -> "Settings":
        """Return the settings of a recipe, changed by a file and then by what is given.

        Args:
            config: what a configuration file holds, see `read_config`.
            **given: settings by name; those that are None are left out.

        Raises:
            TypeError: if a value has another type than its setting.
            ValueError: if a setting is unknown, or a value out of range.
        """
        given = {name: value for name, value in given.items() if value is not None}
        chosen = {**(config or {}), **given}
        recipe = chosen.get("recipe", _FIELDS["recipe"].default)
        if recipe not in RECIPE_SETTINGS:
            raise ValueError(
                f"`recipe` must be one of {', '.join(RECIPE_SETTINGS)}, got {recipe!r}"
            )
        merged = {**RECIPE_SETTINGS[recipe], **chosen}
        return cls(**{name: checked(_FIELDS, name, value) for name, value in merged.items()})

    def result(self) -> dict[str, Any]:
        """Return the settings that the result depends on, as JSON holds them."""
        return {
            f.name: list(cast("tuple[Any, ...]", value))
            if isinstance(value := getattr(self, f.name), tuple)
            else value
            for f in fields(self)
            if f.metadata["result"]
        }

    def toml(self) -> str:
        """Return all settings as a configuration file; those that are None are left out."""
        lines = ((f.name, getattr(self, f.name)) for f in fields(self))
        return "".join(f"{name} = {toml(value)}\n" for name, value in lines if value is not None)


_FIELDS: Mapping[str, Field[Any]] = {f.name: f for f in fields(Settings)}
assert all(f.default is not MISSING for f in _FIELDS.values())


def read_config(path: str | Path) -> dict[str, Any]:
    """Return what a configuration file in TOML sets.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"`config` {path} is not TOML: {error}") from error
