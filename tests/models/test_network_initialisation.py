"""Fresh networks are drawn from the distributions that torchvision draws from."""

import numpy as np
import pytest
import torch
import torchvision
from flax import nnx

import flaxblocks as fb
from tests.helpers.networks import SMALLEST
from tests.helpers.tolerance import bound


@pytest.mark.parametrize("name", SMALLEST.values(), ids=SMALLEST)
def test_each_tensor_has_torchvisions_mean_and_deviation(name: str):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)().state_dict()
    network = fb.create_model(name, rngs=nnx.Rngs(0))
    ours = fb.state_dict(network, names="torchvision")

    for key, value in theirs.items():
        _assert_same_distribution(key, ours[key].astype(np.float64), value.double().numpy())


def _assert_same_distribution(key: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Fail where two samples differ in mean or deviation by more than their size explains."""
    spread = theirs.std()
    if spread == 0:
        np.testing.assert_array_equal(ours, theirs, err_msg=key)
        return
    limit = bound("any", "statistic of a sample")
    standard_error = spread * np.sqrt(2 / ours.size)
    assert abs(ours.mean() - theirs.mean()) <= limit * standard_error, key
    # A deviation's own error is at most its normal one, spread / sqrt(2 n) for each sample.
    assert abs(ours.std() - spread) <= limit * standard_error / np.sqrt(2), key
    # The shape of the distribution: a uniform one ends at 1.7 deviations.
    if ours.size >= 1000:
        ends = [np.abs(sample - sample.mean()).max() / sample.std() for sample in (ours, theirs)]
        assert (ends[0] < 2) == (ends[1] < 2), key
