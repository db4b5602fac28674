# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
"""Losses: how a train step calls the network, and what it minimizes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from flaxblocks._base import checks
from flaxblocks._base.dtypes import at_least_float32
from flaxblocks.train.step.mixing import MixedLabel
from flaxblocks.train.step.state import Batch, Metrics

Loss = Callable[[Any, Batch], tuple[jax.Array, Metrics]]
"""Takes the network and a batch, calls the network as it needs to, and returns the mean loss over
the rows, of shape ``()``, with further numbers for the log, each of shape ``()``.

The batch may be any pytree of arrays whose first axis counts the rows; the network may return
anything. A loss that is a pytree, as `Distillation` is, gets its arrays as arguments of the
compiled step; the arrays of a plain function's closure become constants of the program. With
`Mixing`, ``batch["label"]`` is a `MixedLabel`, which `cross_entropy` and `as_target` take."""


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy of a classifier, see `cross_entropy`: a `Loss`.

    Args:
        smoothing: part of the target that is spread evenly over all classes.

    Raises:
        TypeError: if `smoothing` is not a number.
        ValueError: if it does not lie between 0 and 1.
    """

    smoothing: float = 0.0

    def __post_init__(self):
        checks.fraction("smoothing", self.smoothing)

    def __call__(self, model: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        """Return the loss, and ``accuracy``."""
        logits, label = model(batch["image"]), batch["label"]
        loss = cross_entropy(logits, label, self.smoothing).mean()
        return loss, {"accuracy": accuracy(logits, label)}


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Each class as a yes-or-no question, by a sigmoid: a `Loss`.

    Args:
        smoothing: part of the target that is spread evenly over all classes. Labels of shape
            ``(n, classes)`` are taken as they are.
        target_threshold: targets above it become 1 and others 0; None keeps them.
        sum_classes: whether the losses of the classes are summed, not averaged.

    Raises:
        TypeError: if a number is not one.
        ValueError: if one does not lie between 0 and 1.

    Source: Wightman et al. 2021, ResNet strikes back, section 3; timm's `BinaryCrossEntropy`.
    """

    smoothing: float = 0.1
    target_threshold: float | None = None
    sum_classes: bool = False

    def __post_init__(self):
        checks.fraction("smoothing", self.smoothing)
        if self.target_threshold is not None:
            checks.fraction("target_threshold", self.target_threshold)

    def __call__(self, model: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        """Return the loss, and ``accuracy``."""
        logits, label = _wide(model(batch["image"])), batch["label"]
        target = as_target(label, logits, self.smoothing)
        if self.target_threshold is not None:
            target = (target > self.target_threshold).astype(logits.dtype)
        losses = optax.sigmoid_binary_cross_entropy(logits, target)
        losses = losses.sum(-1) if self.sum_classes else losses.mean(-1)
        return losses.mean(), {"accuracy": accuracy(logits, label)}


CROSS_ENTROPY = CrossEntropy()


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("teacher", "label_loss"),
    meta_fields=("temperature", "weight"),
)
@dataclass(frozen=True)
class Distillation:
    """Learn another network's answers, softened by a temperature: a `Loss`.

    ``weight * t**2 * KL(softmax(teacher / t), softmax(logits / t)) + (1 - weight) * label_loss``

    Args:
        teacher: a network with the same classes; it runs in eval mode and is not trained.
        temperature: `t`, by which both networks' logits are divided.
        weight: of the teacher's answers; the rest is the labels'.
        label_loss: of the labels, given the student's output; any `Loss`.

    Raises:
        TypeError: if a number is not one.
        ValueError: if a number is out of range.

    Source: Hinton et al. 2015, Distilling the Knowledge in a Neural Network, section 2.
    """

    teacher: nnx.Module
    temperature: float = 4.0
    weight: float = 0.9
    label_loss: Loss = CROSS_ENTROPY

    def __post_init__(self):
        checks.fraction("weight", self.weight)
        if checks.at_least_0("temperature", self.temperature) == 0:
            raise ValueError(f"`temperature` must be above 0, got {self.temperature!r}")

    def __call__(self, model: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        """Return the loss, and what `label_loss` reports."""
        logits = model(batch["image"])

        def computed(image: jax.Array) -> jax.Array:
            return logits

        label_loss, metrics = self.label_loss(computed, batch)
        teacher = nnx.merge(*nnx.split(self.teacher))
        teacher.eval()
        truth = jax.nn.log_softmax(_wide(teacher(batch["image"])) / self.temperature)
        guess = jax.nn.log_softmax(_wide(logits) / self.temperature)
        divergence = (jnp.exp(truth) * (truth - guess)).sum(-1).mean()
        loss = self.weight * self.temperature**2 * divergence + (1 - self.weight) * label_loss
        return loss, metrics


def cross_entropy(
    logits: jax.Array, label: jax.Array | MixedLabel, smoothing: float = 0.0
) -> jax.Array:
    """Return each row's softmax cross-entropy, in at least float32.

    ``logsumexp(logits) - (1 - smoothing) * logits[label] - smoothing * mean(logits)``.

    >>> [float(loss) for loss in cross_entropy(jnp.zeros((1, 1)), jnp.zeros(1, int))]
    [0.0]

    Args:
        logits: of shape ``(n, classes)``.
        label: classes, of shape ``(n,)``, a class out of range having the loss NaN; or
            probabilities, of shape ``(n, classes)``; or a `MixedLabel` of either.
        smoothing: part of the target that is spread evenly over all classes.

    Returns:
        Losses of shape ``(n,)``.

    Source: Szegedy et al. 2016, section 7; `torch.nn.CrossEntropyLoss`.
    """
    if isinstance(label, MixedLabel):
        own, other = (cross_entropy(logits, one, smoothing) for one in (label.own, label.other))
        return label.share * own + (1 - label.share) * other
    logits = _wide(logits)
    if label.ndim > 1:
        likely = (label * logits).sum(-1)
    else:
        likely = jnp.take_along_axis(logits, label[:, None], -1)[:, 0]
    spread = logits.mean(-1)
    return jax.nn.logsumexp(logits, -1) - (1 - smoothing) * likely - smoothing * spread


def as_target(
    label: jax.Array | MixedLabel, logits: jax.Array, smoothing: float = 0.0
) -> jax.Array:
    """Return labels as probabilities of the shape and dtype of the logits.

    Args:
        label: classes, of shape ``(n,)``; or probabilities, of shape ``(n, classes)``, which are
            not smoothed; or a `MixedLabel` of either.
        logits: of shape ``(n, classes)``.
        smoothing: part of the target that is spread evenly over all classes.
    """
    if isinstance(label, MixedLabel):
        own, other = (as_target(one, logits, smoothing) for one in (label.own, label.other))
        return label.share[:, None] * own + (1 - label.share[:, None]) * other
    if label.ndim > 1:
        return label.astype(logits.dtype)
    target = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype)
    return target * (1 - smoothing) + smoothing / logits.shape[-1]


def accuracy(logits: jax.Array, label: jax.Array | MixedLabel) -> jax.Array:
    """Return the fraction of rows whose largest logit is the label's class, or its likeliest.

    Of a `MixedLabel` its own one counts.
    """
    own = label.own if isinstance(label, MixedLabel) else label
    best = logits.argmax(-1)
    if own.ndim > 1:
        hits = jnp.take_along_axis(own, best[:, None], -1)[:, 0] == own.max(-1)
    else:
        hits = best == own
    return hits.mean(dtype=at_least_float32(logits.dtype))


def _wide(logits: jax.Array) -> jax.Array:
    return logits.astype(at_least_float32(logits.dtype))
