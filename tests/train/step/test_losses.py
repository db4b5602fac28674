"""The loss is PyTorch's; what an evaluation counts is what NumPy counts."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from flaxblocks.train import add, cross_entropy, means
from flaxblocks.train.step.evaluation import evaluation_sums
from tests.helpers.twins import assert_same

LOGITS = 5 * np.random.default_rng(0).normal(size=(7, 11))
LABEL = np.random.default_rng(1).integers(0, 11, 7).astype(np.int32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_equals_pytorchs(smoothing: float, x64):
    ours = cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABEL), smoothing)
    theirs = torch.nn.functional.cross_entropy(
        torch.from_numpy(LOGITS),
        torch.from_numpy(LABEL).long(),
        label_smoothing=smoothing,
        reduction="none",
    )
    assert_same(ours, theirs.numpy())


def test_cross_entropy_is_float32_under_bfloat16_and_finite_for_huge_logits():
    logits = jnp.asarray([[3e38, 0.0, -3e38]], jnp.bfloat16)
    losses = cross_entropy(logits, jnp.zeros(1, int))
    assert losses.dtype == jnp.float32
    assert losses.tolist() == [0.0]


def test_a_label_out_of_range_has_no_loss():
    assert jnp.isnan(cross_entropy(jnp.ones((1, 3)), jnp.asarray([3]))).all()


def sums(rows: slice, weight: np.ndarray, classes: int = 11) -> dict:
    logits, label = jnp.asarray(LOGITS[rows, :classes]), jnp.asarray(LABEL[rows] % classes)
    return evaluation_sums(cross_entropy(logits, label), logits, label, jnp.asarray(weight))


def test_sums_over_batches_with_padding_are_the_means_over_the_rows(x64):
    """Three rows, then four, the second batch padded by rows that would spoil it."""
    first = sums(slice(0, 3), np.ones(3))
    padded = np.concatenate([LOGITS[3:], np.full((2, 11), np.nan)])
    label = np.concatenate([LABEL[3:], [0, 0]])
    losses = cross_entropy(jnp.asarray(padded), jnp.asarray(label))
    weight = jnp.asarray([1.0, 1, 1, 1, 0, 0])
    second = evaluation_sums(losses, jnp.asarray(padded), jnp.asarray(label), weight)

    found = means(add(add(None, first), second))

    order = np.argsort(-LOGITS, axis=1)
    whole = cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABEL))
    assert found["loss"] == pytest.approx(float(whole.mean()), rel=1e-12)
    assert found["accuracy"] == np.mean(order[:, 0] == LABEL)
    assert found["accuracy5"] == np.mean((order[:, :5] == LABEL[:, None]).any(1))


def test_fewer_than_five_classes_are_always_among_the_first_five():
    assert means(sums(slice(0, 7), np.ones(7), classes=3))["accuracy5"] == 1


def test_a_mean_over_nothing_is_refused():
    with pytest.raises(ValueError, match="`sums` must count at least one sample"):
        means(sums(slice(0, 2), np.zeros(2)))
