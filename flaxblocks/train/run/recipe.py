# pyright: reportMissingTypeStubs=false
"""How a network is trained, as a value."""

from dataclasses import dataclass

import optax

from flaxblocks._base import checks
from flaxblocks.train.data.augment import CENTER_CROP, Augment, Crop, Operation
from flaxblocks.train.data.growth import Growth
from flaxblocks.train.optim.averages import Average
from flaxblocks.train.optim.groups import scale_layers
from flaxblocks.train.optim.optimizers import Algorithm, Mask, everything
from flaxblocks.train.optim.schedules import Schedule
from flaxblocks.train.step.losses import CROSS_ENTROPY, Loss
from flaxblocks.train.step.mixing import Mixing

REFERENCE_BATCH = 256  # images; learning rates are given for it


@dataclass(frozen=True)
class Recipe:
    """Everything about a training run but the network and the data.

    >>> recipe = fb.train.RECIPES["resnet50-torchvision"]
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
        average: how much of the past a moving average of the weights keeps; None for no average.
        crop: cuts the training images to a square.
        augmentations: further random operations on each training image, in order.
        size: of the square in pixels; that of the evaluation where absent.
        growth: how images are smaller and change less at first; None for the same throughout.
        repeats: how often an image comes in a batch, see `training_batches`.

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
    average: Average | None = None
    crop: Crop = CENTER_CROP
    augmentations: tuple[Operation, ...] = ()
    size: int | None = None
    growth: Growth | None = None
    repeats: int = 1

    def __post_init__(self):
        checks.at_least_0("learning_rate", self.learning_rate)
        checks.positive_int("epochs", self.epochs)
        checks.at_least_0("weight_decay", self.weight_decay)
        checks.function("loss", self.loss)
        checks.positive_int("repeats", self.repeats)
        if self.size is not None:
            checks.positive_int("size", self.size)
        if self.layer_decay is not None:
            checks.fraction("layer_decay", self.layer_decay)
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

    def augment(self, size: int, channels: int, epoch: int) -> Augment:
        """Return what training does to each image.

        Args:
            size: of the evaluation's images in pixels.
            channels: 3 for color, 1 for gray.
            epoch: number of the epoch, from 0.
        """
        augment = Augment(self.size or size, self.crop, self.augmentations, channels)
        return augment if self.growth is None else self.growth.at(epoch / self.epochs, augment)
