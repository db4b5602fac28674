"""Which form each convolution is lowered to, read off the program: every threshold has a test."""

import re
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxblocks import ops
from flaxblocks.ops.jaxprs import equations
from tests.helpers.typed import present

pytestmark = pytest.mark.usefixtures("xla_forms")

KERNELS = re.compile(r"@flaxblocks_(\w+?)_[0-9a-f]{8}\b")


@dataclass(frozen=True)
class Conv:
    """A convolution without values, `c` channels to `d`."""

    c: int
    d: int
    window: tuple[int, int] = (3, 3)
    size: tuple[int, int] = (14, 14)
    groups: int = 1
    stride: int = 1
    dilation: int = 1
    padding: str = "SAME"
    dtype: str = "float32"

    def program(self, role: str) -> str:
        """Return the program for CPU of the output or of one of the gradients."""
        x = jax.ShapeDtypeStruct((1, *self.size, self.c), self.dtype)
        kernel = jax.ShapeDtypeStruct((*self.window, self.c // self.groups, self.d), self.dtype)
        g = jax.eval_shape(self._convolve, x, kernel)

        def input_gradient(kernel, g):
            return jax.linear_transpose(lambda x: self._convolve(x, kernel), x)(g)

        def kernel_gradient(x, g):
            return jax.linear_transpose(lambda kernel: self._convolve(x, kernel), kernel)(g)

        roles = {
            "output": (self._convolve, x, kernel),
            "input": (input_gradient, kernel, g),
            "kernel": (kernel_gradient, x, g),
        }
        function, *arguments = roles[role]
        return jax.jit(function).lower(*arguments).as_text()

    def _convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        steps, spread = (self.stride,) * 2, (self.dilation,) * 2
        return ops.conv_general_dilated(
            x, kernel, steps, self.padding, rhs_dilation=spread,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=self.groups,
        )  # fmt: skip


def counts(program: str) -> tuple[int, int, int]:
    """Return how many convolutions, matrix products and elementwise products there are."""
    names = ("convolution", "dot_general", "multiply")
    convolutions, products, multiplies = (program.count(f"stablehlo.{name}") for name in names)
    return convolutions, products, multiplies


XLAS, PRODUCT = (1, 0, 0), (0, 1, 0)  # XLA's convolution; one matrix product
SHIFTS = (0, 0, 9)  # a multiplication for each tap
# `wide_product` reads and writes 3 * 64 channels for each of these pixels: exactly its 12 MB.
EDGE = Conv(64, 64, size=(128, 130), padding="VALID")

XLA_FORMS = [
    # Groups of up to 8 channels are shifts, a multiplication for each tap and channel.
    (Conv(6, 6, groups=6), "output", SHIFTS),
    (Conv(6, 6, groups=6), "input", SHIFTS),
    (Conv(6, 12, groups=6), "output", SHIFTS),
    (Conv(16, 16, groups=2), "output", (0, 0, 9 * 8)),
    (Conv(16, 16, groups=2), "input", (0, 0, 9 * 8)),
    (Conv(18, 18, groups=2), "output", (2, 0, 0)),
    (Conv(16, 18, groups=2), "output", (2, 0, 0)),
    (Conv(18, 16, groups=2), "input", (2, 0, 0)),
    # The kernel's gradient: blocks of 14 rows for a depthwise one, else of 32 channels.
    (Conv(6, 6, groups=6), "kernel", (0, 0, 9 * 14)),
    (Conv(6, 6, groups=6, size=(15, 14)), "kernel", (0, 0, 9 * 8)),
    (Conv(6, 12, groups=6), "kernel", (0, 0, 9 * 14)),
    (Conv(64, 64, groups=8), "kernel", (2, 0, 0)),
    (Conv(66, 66, groups=2), "kernel", (2, 0, 0)),
    (Conv(64, 64, groups=32), "kernel", (2, 0, 0)),
    # A 1x1 kernel is a product, but with few rows only backwards.
    (Conv(8, 8, (1, 1)), "output", PRODUCT),
    (Conv(8, 8, (1, 1)), "input", PRODUCT),
    (Conv(8, 8, (1, 1)), "kernel", PRODUCT),
    (Conv(8, 8, (1, 1), size=(1, 1)), "output", XLAS),
    (Conv(8, 8, (1, 1), size=(1, 2)), "output", PRODUCT),
    (Conv(8, 8, (1, 1), size=(1, 1)), "input", PRODUCT),
    # An image smaller than the window, and stride and dilation together: a product for each tap.
    (Conv(8, 8, size=(3, 3)), "output", XLAS),
    (Conv(8, 8, size=(2, 3)), "output", (0, 9, 0)),
    (Conv(8, 8, size=(3, 2)), "input", (0, 9, 0)),
    (Conv(8, 8, size=(2, 3)), "kernel", XLAS),
    (Conv(8, 8, stride=2), "kernel", XLAS),
    (Conv(8, 8, dilation=2), "input", XLAS),
    (Conv(8, 8, stride=2, dilation=2), "output", (0, 9, 0)),
    (Conv(8, 8, stride=2, dilation=2), "input", (0, 9, 0)),
    (Conv(8, 8, stride=2, dilation=2), "kernel", (0, 9, 0)),
    # Up to 64 inputs to 64 outputs and more, stride 1, in the cache: one wide product.
    (Conv(64, 64), "output", PRODUCT),
    (Conv(3, 128, (5, 5)), "output", PRODUCT),
    (Conv(64, 64, dilation=2), "output", PRODUCT),
    (Conv(65, 64), "output", XLAS),
    (Conv(64, 63), "output", XLAS),
    (Conv(64, 64, stride=2), "output", XLAS),
    (Conv(64, 64, (1, 3)), "output", XLAS),
    (Conv(64, 64), "input", XLAS),
    (Conv(64, 64), "kernel", XLAS),
    (EDGE, "output", PRODUCT),
    (Conv(64, 64, size=(129, 130), padding="VALID"), "output", XLAS),
    (Conv(64, 65, size=(128, 130), padding="VALID"), "output", XLAS),
    (Conv(32, 64, size=(128, 130), padding="VALID"), "output", PRODUCT),
]  # fmt: skip


@pytest.mark.parametrize(("conv", "role", "expected"), XLA_FORMS, ids=str)
def test_the_form_that_xla_compiles(conv: Conv, role: str, expected: tuple):
    assert counts(conv.program(role)) == expected


@pytest.mark.parametrize(
    ("dtype", "stride", "expected"),
    [("float64", 2, (0, 9, 0)), ("float64", 1, XLAS), ("float32", 2, XLAS)],
)
def test_float64_gradients_that_a_stride_spreads_are_products(dtype, stride, expected):
    with jax.enable_x64(True):
        program = Conv(3, 8, stride=stride, dtype=dtype).program("input")
    assert counts(program) == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype: str):
    program = Conv(8, 8, (1, 1), dtype=dtype).program("output")
    assert re.search(r"dot_general.*-> tensor<1x14x14x8xf32>", program)


def narrow(width: int, d: int | None = None, groups: int = 4) -> Conv:
    return Conv(groups * width, groups * (d or width), groups=groups)


NATIVE_FORMS = [
    # As many inputs as outputs in groups of 1, 4 and 8.
    *((narrow(width), "output", ["narrow"]) for width in (1, 4, 8)),
    *((narrow(width), "input", ["narrow"]) for width in (1, 4, 8)),
    *((narrow(width), "kernel", ["narrow_kernel"]) for width in (1, 4, 8)),
    *((narrow(width), "output", []) for width in (2, 3, 5, 7, 9)),
    (narrow(1, 2), "output", []),
    # Otherwise 64 bytes of outputs: 16 channels in float32 and 8 in float64.
    (narrow(16), "output", ["dense"]),
    (narrow(15), "output", []),
    (narrow(4, 16), "output", ["dense"]),
    (narrow(16, 4), "input", ["dense"]),
    (narrow(4, 16), "input", []),
    (Conv(3, 16), "output", ["dense"]),
    (Conv(3, 15), "output", []),
    (Conv(3, 16), "input", []),
    (Conv(16, 3), "input", ["dense"]),
    (Conv(3, 8, dtype="float64"), "output", ["dense"]),
    (Conv(3, 7, dtype="float64"), "output", []),
    (Conv(32, 32, dtype="bfloat16"), "output", ["dense"]),  # computed in float32
    # A kernel's gradient needs 8 inputs, which may be those at the taps of a row.
    (Conv(8, 16), "kernel", ["dense_kernel"]),
    (Conv(3, 16), "kernel", ["dense_kernel"]),
    (Conv(2, 16), "kernel", []),
    (Conv(3, 16, dilation=2), "kernel", []),
    (Conv(7, 16, (3, 1)), "kernel", []),
    (Conv(8, 15), "kernel", []),
    (narrow(16), "kernel", ["dense_kernel"]),
    *((Conv(32, 32, (1, 1)), role, ["pointwise"]) for role in ("output", "input")),
    (Conv(32, 32, (1, 1), stride=2), "output", ["dense"]),
    (Conv(32, 15, (1, 1)), "output", []),
    (Conv(32, 32, (1, 1)), "kernel", ["dense_kernel"]),
    (Conv(7, 32, (1, 1)), "kernel", []),
    (Conv(16, 16, (1, 1), groups=16), "output", ["narrow"]),
]


@pytest.mark.parametrize(("conv", "role", "expected"), NATIVE_FORMS, ids=str)
def test_the_native_kernel(conv: Conv, role: str, expected: list[str]):
    with jax.enable_x64(conv.dtype == "float64"):
        with ops.convolution("native"):
            assert KERNELS.findall(conv.program(role)) == expected
        assert KERNELS.findall(conv.program(role)) == []


MEBIBYTE = jax.ShapeDtypeStruct((1, 2**18), jnp.float32)


@pytest.mark.parametrize(("n", "loops"), [(2, []), (3, [3]), (4, [2]), (5, [5])])
def test_images_are_taken_in_chunks_of_at_most_10_mebibytes(n: int, loops: list[int]):
    """Each image of 1 MiB takes 4 MiB within."""

    def function(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x] * 4, axis=1).reshape(*x.shape, 4).sum(2)

    images = jax.ShapeDtypeStruct((n, *MEBIBYTE.shape[1:]), MEBIBYTE.dtype)
    jaxpr = jax.make_jaxpr(partial(ops.in_chunks, function))(images).jaxpr
    assert [e.params["length"] for e in equations(jaxpr) if e.primitive.name == "scan"] == loops


def test_what_computes_the_image_is_run_once():
    """Without the axis that hides the padding XLA computes it padded and unpadded."""

    def function(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y = jax.nn.silu(x)
        numbers = ("NHWC", "HWIO", "NHWC")
        return ops.conv_general_dilated(
            y, kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=32
        )

    shapes = (2, 14, 14, 32), (3, 3, 1, 32)
    types = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    compiled = jax.jit(function).lower(*types).compile().as_text()
    assert len(re.findall(r"\bfusion\(", present(compiled))) == 2  # the padded image, and the sum
