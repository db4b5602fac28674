"""Which classes a network takes for which."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks.train.step.evaluation import classification_scores
from flaxblocks.train.step.state import Batch, Metrics

CONFUSION = "confusion"


def confusion_scores(model: Any, batch: Batch) -> Metrics:
    """Return what `classification_scores` does, and ``confusion``.

    ``confusion`` has the shape ``(classes, classes)`` and counts the rows of each class, down, by
    the class that the network gave, across.
    """
    logits, label = model(batch["image"]), batch["label"]

    def computed(image: jax.Array) -> jax.Array:
        return logits

    scores = classification_scores(computed, batch)
    counted = batch.get("weight", jnp.ones(label.shape)) > 0
    classes = logits.shape[-1]
    empty = jnp.zeros((classes, classes), jnp.int32)
    return {**scores, CONFUSION: empty.at[label, logits.argmax(-1)].add(counted)}


def precision_and_recall(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each class was rightly given, and how often it was found.

    >>> precision_and_recall(np.array([[3, 1], [0, 0]]))
    (array([1., 0.]), array([0.75,  nan]))

    Args:
        confusion: counts of shape ``(classes, classes)``, see `confusion_scores`.

    Returns:
        Fractions of shape ``(classes,)``, NaN for a class that was never given, or has no images.
    """
    right = np.diagonal(confusion).astype(np.float64)
    given, there = confusion.sum(0), confusion.sum(1)
    nothing = np.full(len(right), np.nan)
    return (
        np.divide(right, given, out=nothing.copy(), where=given > 0),
        np.divide(right, there, out=nothing, where=there > 0),
    )
