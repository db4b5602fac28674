"""The forms of convolutions on a GPU: what they compute, forced here, and when they are lowered."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from flaxblocks import ops
from flaxblocks.ops.conv import cpu_choice, gpu_choice
from tests.helpers.twins import assert_same


def without_kernels(first, second, *, kernels: object, **parameters):
    return gpu_choice.lower(first, second, kernels=False, **parameters)


@pytest.fixture
def forced(monkeypatch, x64):
    """Lower for CPU what a GPU gets, in every dtype."""
    rows = tuple(row._replace(dtypes=("float64",)) for row in gpu_choice.TABLE)
    monkeypatch.setattr(gpu_choice, "TABLE", rows)
    monkeypatch.setattr(cpu_choice, "lower", without_kernels)
    jax.clear_caches()
    yield
    jax.clear_caches()


def convolution(door, size, window, stride, groups, padding, inputs, outputs):
    """Return the convolution with this door, and its input and kernel."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, *size, inputs)))
    kernel = jnp.asarray(rng.standard_normal((*window, inputs // groups, outputs)))
    convolve = partial(
        door,
        window_strides=stride,
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return convolve, x, kernel


# size, window, strides, groups, padding, input and output channels
CASES = {
    "stem": ((11, 10), (7, 7), (2, 2), 1, ((3, 3), (3, 3)), 3, 4),
    "stem, uneven": ((12, 9), (3, 3), (2, 2), 1, ((0, 1), (0, 1)), 3, 4),
    "patches": ((8, 9), (4, 4), (4, 4), 1, ((0, 0), (0, 0)), 3, 4),
    "cropped": ((13, 17), (3, 5), (3, 2), 1, ((-1, 2), (2, -1)), 3, 4),
    "groups of 4": ((5, 6), (3, 3), (1, 1), 6, ((1, 1), (1, 1)), 24, 12),
    "groups of 8": ((5, 6), (3, 3), (2, 2), 4, ((1, 1), (1, 1)), 32, 32),
    "groups of 24": ((5, 6), (3, 3), (2, 2), 2, ((1, 1), (1, 1)), 48, 96),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_are_those_of_the_library_convolution(case: str, forced):
    def results(door):
        convolve, x, kernel = convolution(door, *CASES[case])

        def bent(x, kernel):
            return jnp.sin(convolve(x, kernel)).sum()

        gradients = jax.grad(bent, (0, 1))
        tangents = jnp.cos(3 * x), jnp.sin(2 * kernel)
        return jax.jit(
            lambda: (
                convolve(x, kernel),
                jax.jvp(gradients, (x, kernel), tangents),  # the gradients and their derivative
            )
        )()

    ours, theirs = (results(door) for door in (ops.conv_general_dilated, lax.conv_general_dilated))
    jax.tree.map(partial(assert_same, quantity="gradient"), ours, theirs)


def program(role: str, dtype: str, case: tuple) -> tuple[int, ...]:
    """Return what is in the program for a GPU.

    The number of convolutions, their groups, and the numbers of transposes, pads and products.
    """
    convolve, x, kernel = convolution(ops.conv_general_dilated, *case)
    x, kernel = (jax.ShapeDtypeStruct(a.shape, dtype) for a in (x, kernel))
    g = jax.eval_shape(convolve, x, kernel)
    function, arguments = {
        "output": (convolve, (x, kernel)),
        "input": (lambda w, g: jax.linear_transpose(lambda x: convolve(x, w), x)(g), (kernel, g)),
        "kernel": (lambda x, g: jax.linear_transpose(lambda w: convolve(x, w), kernel)(g), (x, g)),
    }[role]
    text = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()
    groups = [int(number) for number in re.findall(r"_group_count = (\d+)", text)]
    names = ("transpose", "pad", "multiply")
    counts = (text.count(f"stablehlo.{name}") for name in names)
    return text.count("stablehlo.convolution"), max(groups, default=0), *counts


def grouped(inputs: int, count: int) -> tuple:
    return (8, 8), (3, 3), (1, 1), count, ((1, 1), (1, 1)), inputs * count, inputs * count


STEM = CASES["stem"]
DEPTHWISE = ((9, 8), (3, 3), (2, 2), 6, ((1, 1), (1, 1)), 6, 6)
HALF, SINGLE = "bfloat16", "float32"


@pytest.mark.parametrize(
    ("case", "dtype", "role", "expected"),
    [
        # 2 x 2 pixels become channels, in image and kernel
        (STEM, HALF, "output", (1, 1, 2, 2, 0)),
        (STEM, HALF, "kernel", (1, 1, 2, 2, 0)),
        (STEM, HALF, "input", (1, 1, 0, 0, 0)),
        (STEM, SINGLE, "output", (1, 1, 2, 2, 0)),
        (((9, 9), (3, 3), (1, 1), 1, "SAME", 3, 8), HALF, "output", (1, 1, 0, 0, 0)),
        (((9, 9), (3, 3), (2, 2), 1, "SAME", 5, 8), HALF, "output", (1, 1, 0, 0, 0)),
        (DEPTHWISE, HALF, "output", (1, 6, 0, 0, 0)),
        (DEPTHWISE, HALF, "kernel", (1, 6, 0, 0, 0)),
        (DEPTHWISE, HALF, "input", (1, 6, 1, 0, 0)),
        # 32, 64 and 80 channels in a group
        (grouped(4, 32), HALF, "output", (1, 4, 0, 0, 0)),
        (grouped(4, 32), HALF, "input", (1, 4, 1, 0, 0)),
        (grouped(4, 32), HALF, "kernel", (1, 4, 0, 0, 0)),
        (grouped(4, 12), HALF, "output", (1, 2, 0, 0, 0)),
        (grouped(4, 32), SINGLE, "output", (1, 4, 0, 0, 0)),
        (grouped(8, 16), HALF, "output", (1, 2, 0, 0, 0)),
        (grouped(8, 16), HALF, "kernel", (1, 16, 0, 0, 0)),
        (grouped(8, 16), SINGLE, "output", (1, 16, 0, 0, 0)),
        (grouped(8, 16), SINGLE, "kernel", (1, 2, 0, 0, 0)),
        (grouped(40, 4), HALF, "output", (1, 2, 0, 0, 0)),
        (grouped(40, 4), SINGLE, "output", (1, 4, 0, 0, 0)),
        # 96, or up to 216
        (grouped(24, 8), HALF, "output", (1, 2, 0, 0, 0)),
        (grouped(24, 8), HALF, "kernel", (1, 2, 0, 0, 0)),
        (grouped(24, 9), HALF, "output", (1, 1, 0, 0, 0)),
        (grouped(24, 63), HALF, "output", (1, 7, 0, 0, 0)),
        (grouped(24, 11), HALF, "output", (1, 11, 0, 0, 0)),
        (grouped(16, 4), HALF, "output", (1, 4, 0, 0, 0)),
    ],
)
def test_what_the_program_for_a_gpu_holds(case: tuple, dtype: str, role: str, expected: tuple):
    assert program(role, dtype, case) == expected


@pytest.mark.parametrize(
    ("inputs", "count", "alone"),
    [(24, 8, True), (56, 4, True), (12, 3, True), (8, 16, False), (16, 4, False), (24, 1, False)],
)
def test_bias_and_relu_are_kept_from_groups_whose_width_is_no_power_of_two(inputs, count, alone):
    convolve, x, kernel = convolution(ops.conv_general_dilated, *grouped(inputs, count))
    lowered = jax.jit(convolve).trace(x, kernel).lower(lowering_platforms=("cuda",)).as_text()
    assert lowered.count("optimization_barrier") == alone
