"""Whether arrays, or samples, are the same."""

import jax
import numpy as np

from tests.helpers.tolerance import bound

TOLERANCE = 1e-12  # of the array's scale, in float64: some thousand additions in another order


def assert_close(ours, theirs, tolerance: float = TOLERANCE) -> None:
    """Fail where a leaf differs by more than the tolerance, a fraction of its scale."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        a, b = (np.asarray(v, np.float64) for v in (a, b))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


def assert_same_distribution(key: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Fail where two samples differ in mean or deviation by more than their size explains."""
    (mean, deviation), (their_mean, spread) = ((a.mean(), a.std()) for a in (ours, theirs))
    if spread == 0:
        np.testing.assert_array_equal(ours, theirs, err_msg=key)
        return
    limit = bound("any", "statistic of a sample")
    standard_error = spread * np.sqrt(2 / ours.size)
    assert abs(mean - their_mean) <= limit * standard_error, key
    # A deviation's own error is at most its normal one, spread / sqrt(2 n) for each sample.
    assert abs(deviation - spread) <= limit * standard_error / np.sqrt(2), key
    # The shape of the distribution: a uniform one ends at 1.7 deviations.
    if ours.size >= 1000:
        ends = [
            max(sample.max() - middle, middle - sample.min()) / width
            for sample, middle, width in ((ours, mean, deviation), (theirs, their_mean, spread))
        ]
        assert (ends[0] < 2) == (ends[1] < 2), key
