"""The losses are PyTorch's and timm's; what an evaluation counts is what NumPy counts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from timm.data.mixup import mixup_target
from timm.loss.binary_cross_entropy import BinaryCrossEntropy as TimmBinaryCrossEntropy

from flaxblocks.train import (
    BinaryCrossEntropy,
    CrossEntropy,
    Distillation,
    MixedLabel,
    accuracy,
    cross_entropy,
    means,
)
from flaxblocks.train.step.evaluation import classification_scores
from tests.helpers.twins import assert_same
from tests.helpers.typed import present

LOGITS = 5 * np.random.default_rng(0).normal(size=(7, 11))
LABEL = np.random.default_rng(1).integers(0, 11, 7).astype(np.int32)
TRUE = torch.from_numpy(LABEL).long()
SHARE = 0.3
SCORES = jax.jit(classification_scores, static_argnums=0)


def dense(smoothing: float) -> torch.Tensor:
    """Return the targets of a mixed batch as timm makes them; it mixes with the reversed batch."""
    return mixup_target(TRUE, 11, SHARE, smoothing).double()


def identity(image: jax.Array) -> jax.Array:
    """Stand for a network whose images are its logits."""
    return image


def rows(label: object = LABEL, logits: np.ndarray = LOGITS) -> dict:
    return {"image": jnp.asarray(logits), "label": jax.tree.map(jnp.asarray, label)}


MIXED = MixedLabel(LABEL, LABEL[::-1], np.full(7, SHARE))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_equals_pytorchs(smoothing: float, x64):
    ours = cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABEL), smoothing)
    theirs = torch.nn.functional.cross_entropy(
        torch.from_numpy(LOGITS), TRUE, label_smoothing=smoothing, reduction="none"
    )
    assert_same(ours, theirs.numpy())


@pytest.mark.parametrize("kind", ["mixed", "dense"])
def test_cross_entropy_of_mixed_labels_is_pytorchs_for_the_mixed_target(kind: str, x64):
    label = MIXED if kind == "mixed" else dense(0.0).numpy()
    loss, _ = CrossEntropy(smoothing=0.1)(identity, rows(label))
    logits = torch.from_numpy(LOGITS)
    theirs = torch.nn.functional.cross_entropy(logits, dense(0.0), label_smoothing=0.1)
    # timm's target is made in float32.
    assert float(loss) == pytest.approx(theirs.item(), rel=1e-7 if kind == "mixed" else 1e-12)


@pytest.mark.parametrize("sum_classes", [False, True])
@pytest.mark.parametrize("threshold", [None, 0.2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_equals_timms(
    smoothing: float, threshold: float | None, sum_classes: bool, x64
):
    options = {"target_threshold": threshold, "sum_classes": sum_classes}
    ours = BinaryCrossEntropy(smoothing, **options)
    theirs = TimmBinaryCrossEntropy(smoothing, **options)
    logits = torch.from_numpy(LOGITS)
    loss, _ = ours(identity, rows())
    assert_same(loss, theirs(logits, TRUE).numpy())
    target = dense(smoothing)
    loss, _ = ours(identity, rows(target.numpy()))
    assert_same(loss, theirs(logits, target).numpy())
    loss, _ = ours(identity, rows(MIXED))  # timm's target is made in float32
    assert float(loss) == pytest.approx(theirs(logits, target).item(), rel=1e-7)


class Affine(nnx.Module):
    """A network of one number."""

    def __init__(self):
        self.factor = nnx.Param(jnp.asarray(-0.5))
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

    def __call__(self, image: jax.Array) -> jax.Array:
        return self.dropout(self.factor[...] * image[:, ::-1])


def test_distillation_is_pytorchs_divergence_and_the_label_loss(x64):
    t, weight = 4.0, 0.7
    loss, metrics = Distillation(Affine(), t, weight, CrossEntropy(0.1))(identity, rows())
    logits, teacher = torch.from_numpy(LOGITS), torch.from_numpy(-0.5 * LOGITS[:, ::-1])
    divergence = torch.nn.functional.kl_div(
        (logits / t).log_softmax(1), (teacher / t).softmax(1), reduction="batchmean"
    )
    labels = torch.nn.functional.cross_entropy(logits, TRUE, label_smoothing=0.1)
    assert_same(loss, (weight * t**2 * divergence + (1 - weight) * labels).numpy())
    assert float(metrics["accuracy"]) == np.mean(LOGITS.argmax(1) == LABEL)


def test_a_teacher_is_asked_in_eval_mode_and_stays_in_its_own():
    teacher = Affine()
    Distillation(teacher)(identity, rows())
    assert not teacher.dropout.deterministic
    assert int(present(teacher.dropout.rngs).count[...]) == 0


def test_accuracy_counts_the_own_label_and_any_likeliest_class():
    logits = jnp.asarray([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
    assert accuracy(logits, jnp.asarray([2, 2])) == 0.5
    assert accuracy(logits, MixedLabel(jnp.asarray([2, 0]), jnp.asarray([0, 0]), SHARE)) == 1
    assert accuracy(logits, jnp.asarray([[1.0, 0, 1], [0, 1, 0]])) == 0.5


def test_cross_entropy_is_float32_under_bfloat16_and_finite_for_huge_logits():
    logits = jnp.asarray([[3e38, 0.0, -3e38]], jnp.bfloat16)
    losses = cross_entropy(logits, jnp.zeros(1, int))
    assert losses.dtype == jnp.float32
    assert losses.tolist() == [0.0]


def test_a_label_out_of_range_has_no_loss():
    assert jnp.isnan(cross_entropy(jnp.ones((1, 3)), jnp.asarray([3]))).all()


REFUSED: list[tuple[Callable, str]] = [
    (lambda: CrossEntropy(2), "`smoothing` must lie"),
    (lambda: BinaryCrossEntropy(-1), "`smoothing` must lie"),
    (lambda: BinaryCrossEntropy(target_threshold=2), "`target_threshold` must lie"),
    (lambda: Distillation(Affine(), temperature=0), "`temperature` must be above 0"),
    (lambda: Distillation(Affine(), weight=2), "`weight` must lie"),
]


@pytest.mark.parametrize("make,message", REFUSED)
def test_refuses_numbers_out_of_range(make: Callable, message: str):
    with pytest.raises(ValueError, match=message):
        make()


def scores(part: slice, weight: np.ndarray, classes: int = 11) -> dict:
    batch = rows(LABEL[part] % classes, LOGITS[part, :classes]) | {"weight": jnp.asarray(weight)}
    return SCORES(identity, batch)


def test_sums_over_batches_with_padding_are_the_means_over_the_rows(x64):
    """Three rows, then four, the second batch padded by rows that would spoil it."""
    first = scores(slice(0, 3), np.ones(3))
    padded = np.concatenate([LOGITS[3:], np.full((2, 11), np.nan)])
    label = np.concatenate([LABEL[3:], [0, 0]])
    weight = jnp.asarray([1.0, 1, 1, 1, 0, 0])
    second = SCORES(identity, rows(label, padded) | {"weight": weight})

    found = means(jax.tree.map(jnp.add, first, second))

    order = np.argsort(-LOGITS, axis=1)
    whole = cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABEL))
    assert found["loss"] == pytest.approx(float(whole.mean()), rel=1e-12)
    assert found["accuracy"] == np.mean(order[:, 0] == LABEL)
    assert found["accuracy5"] == np.mean((order[:, :5] == LABEL[:, None]).any(1))


def test_fewer_than_five_classes_are_always_among_the_first_five():
    assert means(scores(slice(0, 7), np.ones(7), classes=3))["accuracy5"] == 1


def test_a_mean_over_nothing_is_refused():
    with pytest.raises(ValueError, match="`sums` must count at least one sample"):
        means(scores(slice(0, 2), np.zeros(2)))
