"""A small network of MBConv blocks learns handwritten digits, as well as PyTorch's twin does."""

import numpy as np
import pytest

from tests.helpers.tolerance import bound
from tests.helpers.train_digits import BATCH, digits, flax_accuracy, torch_accuracy

ENOUGH = 0.975  # one seed's held-out accuracy: 98 % but for two images of 450
SEEDS = range(3)


@pytest.mark.slow
def test_learns_the_digits():
    assert flax_accuracy(0) >= ENOUGH


@pytest.mark.slow
def test_a_wrong_momentum_does_not_learn():
    """What passes above would not pass with statistics that lag: the test can fail."""
    assert flax_accuracy(0, momentum=0.999) < ENOUGH


@pytest.mark.slow
def test_learns_as_well_as_pytorchs_twin():
    ours, theirs = (
        np.array([train(seed) for seed in SEEDS]) for train in (flax_accuracy, torch_accuracy)
    )
    print(f"flax {ours.round(4).tolist()}, torch {theirs.round(4).tolist()}")
    images = len(digits()[1]["label"])
    # The variance over seeds, and that of counting the hits among so many images.
    pooled = np.concatenate([ours, theirs]).mean()
    variance = (ours.var(ddof=1) + theirs.var(ddof=1)) / len(SEEDS)
    variance += 2 * pooled * (1 - pooled) / images / len(SEEDS)
    assert ours.mean() >= 0.98
    difference = abs(ours.mean() - theirs.mean())
    assert difference <= bound("any", "statistic of a sample") * np.sqrt(variance)


def test_the_digits_are_split_once_and_for_all():
    data, held_out = digits()
    assert (len(data["label"]), len(held_out["label"])) == (1347, 450)
    assert len(data["label"]) % BATCH  # an uneven last batch, which training leaves out
