"""The native kernels in float32: the same bits where nothing rounds, else as close to the truth."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from parity.checks.measure import rms_error
from tests.helpers.convolutions import Configuration, by_door, by_lax, derivatives
from tests.helpers.native_forms import FORMS, GROUPS, IN_FLOAT32, TILES

pytestmark = pytest.mark.usefixtures("xla_forms")


def operands(c: Configuration, draw: Callable[[tuple], np.ndarray]) -> list[np.ndarray]:
    """Return what `derivatives` takes."""
    output = jax.eval_shape(
        lambda *a: by_lax(*a, **c.arguments()), *(jnp.ones(s) for s in (c.x, c.kernel))
    )
    return [draw(shape) for shape in (c.x, c.kernel, c.x, c.kernel, output.shape)]


@pytest.mark.parametrize("c", [FORMS[1], FORMS[6], FORMS[12], FORMS[17], *IN_FLOAT32], ids=str)
def test_exact_arithmetic_gives_the_same_bits(c: Configuration, native):
    """Nothing rounds: small integers over 8, so each result is the same whatever the order."""
    rng = np.random.default_rng(0)
    arrays = operands(c, lambda shape: rng.integers(-8, 9, shape).astype(np.float32) / 8)
    ours, theirs = (derivatives(convolve, c)(*arrays) for convolve in (by_door, by_lax))
    for name, expected in theirs.items():
        assert len(np.unique(expected)) > 100, name
        np.testing.assert_array_equal(ours[name], expected, err_msg=name)


def limit(error: float, truth: np.ndarray) -> float:
    """Return what an error may be: twice another's, or half a unit in the last place."""
    scale = np.abs(truth).max()
    return max(2 * error, float(np.spacing(np.float32(scale)) / scale) / 2)


# The mean error is judged: the largest of either is chance, by the order of its sums.
@pytest.mark.parametrize(
    "c", [FORMS[1], FORMS[2], FORMS[12], FORMS[15], FORMS[17], FORMS[20], *TILES], ids=str
)
def test_float32_is_as_close_to_the_truth_as_jax(c: Configuration, native):
    rng = np.random.default_rng(0)
    arrays = operands(c, lambda shape: rng.standard_normal(shape).astype(np.float32))
    ours, theirs = (derivatives(convolve, c)(*arrays) for convolve in (by_door, by_lax))
    with jax.enable_x64(True):
        truth = derivatives(by_lax, c)(*(a.astype(np.float64) for a in arrays))
    for name, true in truth.items():
        true = np.asarray(true)
        error, theirs_error = (rms_error(np.asarray(a[name]), true) for a in (ours, theirs))
        assert error <= limit(theirs_error, true), name


@pytest.mark.parametrize("c", GROUPS, ids=str)
def test_float32_in_groups_of_a_vector_is_as_close_to_the_truth_as_pytorch(c, native):
    """XLA sums these in vectors, and loses half of what PyTorch's 144 products in order do."""
    rng = np.random.default_rng(0)
    x, kernel = (rng.standard_normal(shape).astype(np.float32) for shape in (c.x, c.kernel))
    ours = np.asarray(by_door(x, kernel, **c.arguments()))
    theirs, truth = (in_torch(c, x.astype(t), kernel.astype(t)) for t in (np.float32, np.float64))
    assert rms_error(ours, truth) <= limit(rms_error(theirs, truth), truth)


def in_torch(c: Configuration, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    pads: Any = [(1, 1), (1, 1)] if c.padding == "SAME" else list(c.padding)
    sides = [side for low, high in pads[::-1] for side in (low, high)]
    y = torch.nn.functional.conv2d(
        torch.nn.functional.pad(torch.from_numpy(x).permute(0, 3, 1, 2), sides),
        torch.from_numpy(kernel).permute(3, 2, 0, 1),
        stride=c.window_strides,
        groups=c.feature_group_count,
    )
    return y.permute(0, 2, 3, 1).numpy()


def test_dense_3x3_in_float32_takes_tiles(native, x64):
    """Which can be seen where a pixel is infinite: its products are taken from each other."""
    for dtype, in_tiles in ((np.float32, True), (np.float64, False)):
        x = np.zeros((1, 12, 12, 32), dtype)
        x[0, 4, 4, 0] = np.inf
        kernel = np.ones((3, 3, 32, 32), dtype)
        y = jax.jit(partial(by_door, window_strides=(1, 1), padding="SAME"))(x, kernel)
        reached = np.zeros(y.shape, bool)
        reached[:, 3:6, 3:6] = True
        np.testing.assert_array_equal(~np.isfinite(y), reached)
        assert np.isnan(y).any() == in_tiles, dtype
