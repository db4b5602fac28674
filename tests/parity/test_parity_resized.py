"""A reshape with sizes that were written down follows an array that grew."""

import pytest

from parity.trace.resized import resized


@pytest.mark.parametrize(
    ("sizes", "before", "now", "expected"),
    [
        ((3, 30, 3, 2, 2), (3, 30, 12), (3, 99, 12), [3, 99, 3, 2, 2]),  # heads of tokens
        ((3, 4, 30), (3, 4, 5, 6), (3, 4, 9, 11), [3, 4, 99]),  # an image's tokens
        ((3, -1), (3, 4, 5, 6), (3, 4, 9, 11), [3, 396]),
        ((3, 4, 5, 6), (3, 4, 30), (3, 4, 60), [3, 4, 10, 6]),
        ((2, 1, 6, 1), (2, 6), (2, 8), [2, 1, 8, 1]),
        ((5, 6), (3, 10), (3, 20), [10, 6]),  # across all axes
    ],
)
def test_a_reshape_follows_its_array(sizes, before, now, expected):
    assert resized(sizes, before, now) == expected
