"""The convolution door against JAX's own convolution: values, first and second derivatives."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from parity.trace.jax_program import QUICK
from tests.helpers.convolutions import Configuration, check, random_configuration

FORMS = [
    Configuration((2, 7, 6, 12), (1, 1, 12, 20), (2, 3), ((1, 0), (-1, 2))),
    Configuration((1, 1, 1, 12), (1, 1, 12, 5)),
    Configuration((3, 8, 9, 10), (5, 3, 1, 10), (2, 1), ((2, 1), (0, 3)), feature_group_count=10),
    Configuration((2, 16, 5, 6), (3, 3, 1, 18), (3, 2), "SAME", feature_group_count=6),
    Configuration((2, 9, 8, 12), (3, 5, 1, 12), (1, 1), "VALID", (2, 1), feature_group_count=12),
    Configuration((2, 7, 7, 12), (3, 3, 4, 9), (2, 2), ((1, 1), (1, 1)), feature_group_count=3),
    Configuration((2, 5, 6, 24), (3, 2, 12, 20), (1, 2), "SAME", feature_group_count=2),
    Configuration((2, 5, 5, 129), (3, 3, 3, 86), feature_group_count=43),
    Configuration((2, 6, 7, 24), (1, 1, 4, 18), (2, 1), feature_group_count=6),
    Configuration((2, 7, 8, 5), (3, 4, 5, 7), (2, 1), "SAME_LOWER"),
    Configuration((2, 9, 8, 12), (3, 2, 12, 64), (1, 1), ((2, -1), (0, 3)), (1, 2)),
    # An image smaller than the window.
    Configuration((2, 2, 3, 5), (3, 5, 5, 7), (1, 2)),
    # Padding so wide that the first and last outputs see none of the input.
    Configuration((1, 3, 2, 4), (2, 2, 1, 4), (1, 2), ((4, 5), (3, 4)), feature_group_count=4),
    # A stride so wide that some pixels of the input are never seen.
    Configuration((1, 9, 9, 4), (2, 1, 1, 4), (3, 3), "VALID", feature_group_count=4),
]


@pytest.mark.parametrize("c", FORMS, ids=str)
def test_each_form_agrees_with_jax(c: Configuration, x64):
    check(c)


@pytest.mark.parametrize("seed", range(4))
def test_random_configurations_agree_with_jax(seed: int, x64):
    check(random_configuration(np.random.default_rng(seed)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 31))
def test_thousands_of_random_configurations_agree_with_jax(seed: int, x64):
    rng = np.random.default_rng(1000 * seed)
    for _ in range(100):
        check(random_configuration(rng))
    jax.clear_caches()


FATAL = """
import jax
from tests.helpers.convolutions import Configuration, by_sums, check
jax.config.update("jax_enable_x64", True)
same = ((1, 1), (2, 2))
check(Configuration((3, 8, 15, 8), (2, 5, 8, 4), (2, 3), ((1, 2), (0, 3)), (1, 2)), by_sums)
check(Configuration((2, 9, 9, 6), (3, 3, 1, 6), (2, 2), same, (2, 2), 6), by_sums)
check(Configuration((2, 9, 9, 24), (3, 2, 12, 24), (2, 2), same, (2, 3), 2), by_sums)
print("survived")
"""


def test_stride_and_dilation_together_do_not_end_the_process():
    """JAX's own derivatives end it here (jaxlib 0.10.2), so this runs in a process of its own."""
    flags = " ".join(f"--{name}={value}".lower() for name, value in QUICK.items())
    done = subprocess.run(
        [sys.executable, "-c", FATAL],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("survived\n"), done.stderr[-2000:]
