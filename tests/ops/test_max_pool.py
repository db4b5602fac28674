"""The maximum over windows: JAX's values, and PyTorch's derivative among equal pixels."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads

import flaxblocks as fb
from flaxblocks.ops import max_pool
from tests.helpers.twins import assert_same

# size, stride, padding, and whether a window may reach beyond the end
WINDOWS = [
    (3, 2, 1, False),
    (2, 2, 0, False),
    (3, 1, 1, False),
    (3, 3, 0, False),
    (3, 2, 0, True),
]


@pytest.mark.parametrize(("size", "stride", "padding", "ceil_mode"), WINDOWS)
def test_the_default_form_is_equal_to_jax_s_windows(
    size: int, stride: int, padding: int, ceil_mode: bool
):
    x = np.random.default_rng(0).standard_normal((2, 9, 8, 3), np.float32)
    x[0, 4, 4, 0] = np.nan
    pool = partial(max_pool, kernel_size=size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    with fb.ops.convolution("lax"):
        expected = np.asarray(jax.jit(pool)(x))
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(np.asarray(jax.jit(pool)(x)), expected)


@pytest.mark.parametrize(
    ("platform", "implementation", "has_windows"),
    [("cpu", "default", False), ("cuda", "default", True), ("cpu", "lax", True)],
)
def test_jax_s_windows_are_what_other_platforms_compute(platform, implementation, has_windows):
    x = jax.ShapeDtypeStruct((1, 9, 9, 2), jnp.float32)
    with fb.ops.convolution(implementation):
        program = jax.jit(max_pool).trace(x).lower(lowering_platforms=(platform,)).as_text()
    assert ("reduce_window" in program) == has_windows


@pytest.mark.parametrize(("size", "stride", "padding", "ceil_mode"), WINDOWS)
def test_the_first_of_equal_pixels_has_the_gradient(
    size: int, stride: int, padding: int, ceil_mode: bool, x64
):
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (2, 9, 8, 3)).astype(np.float64)  # most windows hold equal pixels
    pool = partial(max_pool, kernel_size=size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    y = jax.eval_shape(pool, x)
    g = rng.standard_normal(y.shape)
    theirs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    torch.nn.functional.max_pool2d(theirs, size, stride, padding, ceil_mode=ceil_mode).backward(
        torch.tensor(g.transpose(0, 3, 1, 2))
    )
    assert theirs.grad is not None
    gradient = jax.jit(lambda x, g: jax.vjp(pool, x)[1](g)[0])(x, g)
    assert_same(gradient, theirs.grad.numpy().transpose(0, 2, 3, 1), "gradient")


def test_both_modes_and_orders_are_those_of_finite_differences(x64):
    x = jnp.asarray(np.random.default_rng(1).permutation(2 * 7 * 6 * 2).reshape(2, 7, 6, 2) / 7.0)
    check_grads(jax.jit(lambda x: max_pool(jnp.sin(x))), (x,), order=2)


def test_nothing_is_scattered():
    x = jax.ShapeDtypeStruct((1, 9, 9, 2), jnp.float32)
    program = jax.jit(jax.grad(lambda x: max_pool(x).sum())).lower(x).as_text()
    assert "scatter" not in program


def test_pixels_are_compared_with_each_other_alone():
    """Fused with what makes the pixels, XLA rounds them otherwise than for the maximum.

    Equal to no maximum, a pixel would lose its gradient, as the trajectory of a ResNet showed.
    """
    x = jnp.ones((1, 9, 9, 2))
    program = str(jax.make_jaxpr(lambda x, dx: jax.jvp(max_pool, (x,), (dx,)))(x, x))
    equal = re.findall(r"= eq (\w+) ", program)
    types = [re.search(rf"\b{name}:(\w+)\[", program) for name in equal]
    assert types and {found[1] for found in types if found} == {"u8"}


KERNELS = re.compile(r"@flaxblocks_(\w+?)_[0-9a-f]{8}\b")


@pytest.mark.parametrize(
    ("size", "stride", "padding", "ceil_mode", "shape"),
    [
        *((*window, shape) for window in WINDOWS for shape in [(3, 9, 8, 24), (1, 37, 5, 17)]),
        (3, 2, 1, False, (2, 1, 2, 8)),
        (3, 1, 1, False, (2, 1, 2, 8)),
    ],
)
def test_the_native_kernels_are_the_same_functions(
    size: int, stride: int, padding: int, ceil_mode: bool, shape: tuple[int, ...], native, x64
):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-2, 3, shape), jnp.float64)
    x = x.at[0, 0, 1, 0].set(np.nan).at[:, :, :, 1].set(-np.inf)
    pool = partial(max_pool, kernel_size=size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    g = jnp.asarray(rng.integers(1, 9, jax.eval_shape(pool, x).shape), jnp.float64)

    def both(x, g):
        y, back = jax.vjp(pool, x)
        return y, *back(g)

    called = KERNELS.findall(jax.jit(both).lower(x, g).as_text())
    assert called == ["max_pool", "max_pool_gradient"]
    ours = jax.jit(both)(x, g)
    with fb.ops.convolution("xla"):
        assert not KERNELS.findall(jax.jit(both).lower(x, g).as_text())
        theirs = jax.jit(both)(x, g)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)  # sums of small integers


def test_the_native_kernels_need_a_vector_of_channels(native):
    x = jax.ShapeDtypeStruct((2, 9, 8, 15), jnp.float32)
    step = jax.jit(jax.grad(lambda x: max_pool(x).sum()))
    assert not KERNELS.findall(step.lower(x).as_text())
