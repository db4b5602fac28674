"""Multiply-adds: what a program takes, and that a record says what torchvision publishes."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from torchvision.models import get_model_weights

import flaxblocks as fb
from flaxblocks.flops import multiply_adds
from tests.helpers.networks import PUBLISHED

LAST_DIGIT = 0.0005e9  # torchvision rounds to thousandths of 10**9


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_network_takes_the_published_number(name: str):
    """So its record says, against which `test_records` holds what the traced program takes."""
    record = fb.model_info(name)
    weights = [w.meta["_ops"] for w in get_model_weights(name) if _size(w) == record.input_size]
    assert weights
    assert all(abs(record.multiply_adds - 1e9 * count) <= LAST_DIGIT for count in weights)


def _size(weights) -> int:
    (size,) = weights.transforms().crop_size
    return size


X = jnp.ones((2, 8, 6, 4))
KERNEL = jnp.ones((3, 3, 2, 10))


def grouped(x: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        KERNEL,
        (2, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=2,
    )


CONVOLUTION = 2 * 4 * 6 * 10 * 3 * 3 * 2  # images, rows, columns, channels; taps, channels read

FUNCTIONS = {
    "a convolution": (grouped, CONVOLUTION),
    "in another layout": (
        lambda x: lax.conv_general_dilated(x, jnp.ones((5, 8, 1, 1)), (1, 1), "VALID"),
        2 * 5 * 6 * 4 * 8,
    ),
    "a matrix product": (lambda x: jnp.einsum("nhwc,cd->dnhw", x, jnp.ones((4, 5))), 2 * 48 * 20),
    "a product in batches": (lambda x: jnp.einsum("nhwc,nhwd->nhcd", x, x), 2 * 8 * 16 * 6),
    "what is done to single values": (lambda x: jnp.tanh(x * x + 1), 0),
    "a function in functions": (jax.checkpoint(jax.jit(jax.vmap(grouped))), 3 * CONVOLUTION),
}


@pytest.mark.parametrize(("function", "expected"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_counts(function, expected: int):
    x = jnp.stack([X, X, X]) if function is FUNCTIONS["a function in functions"][0] else X
    assert multiply_adds(function, x) == expected
    assert multiply_adds(function, jax.ShapeDtypeStruct(x.shape, x.dtype)) == expected
