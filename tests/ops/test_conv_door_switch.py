"""What goes through the door's fast forms, what goes to JAX unchanged, and the switch."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import flaxblocks as fb
from flaxblocks import ops

NHWC = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
OURS, JAXS = "flaxblocks_convolution", "conv_general_dilated"
X, KERNEL = jnp.ones((2, 5, 6, 4)), jnp.ones((3, 3, 4, 8))


def convolve(x: jax.Array = X, kernel: jax.Array = KERNEL, **arguments) -> jax.Array:
    given: dict[str, Any] = {"window_strides": (1, 1), "padding": "SAME"} | NHWC | arguments
    return ops.conv_general_dilated(x, kernel, **given)


def primitive(function=convolve, *args, **kwargs) -> str:
    """Return the one primitive that the call becomes."""
    (equation,) = jax.make_jaxpr(lambda *args: function(*args, **kwargs))(*args).eqns
    return equation.primitive.name


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"window_strides": [2, 1], "padding": [(1, 2), (0, -1)], "rhs_dilation": (1, 2)},
        {"lhs_dilation": (1, 1), "rhs_dilation": None},
        {"precision": jax.lax.Precision.HIGHEST, "preferred_element_type": jnp.float32},
        {"feature_group_count": 2, "kernel": jnp.ones((3, 3, 2, 8))},
    ],
    ids=str,
)
def test_has_a_form_of_its_own(arguments: dict):
    assert primitive(**arguments) == OURS


@pytest.mark.parametrize(
    "arguments",
    [
        {"lhs_dilation": (2, 1), "padding": ((1, 1), (1, 1))},
        {"batch_group_count": 2},
        {
            "x": X.astype(jnp.bfloat16),
            "kernel": KERNEL.astype(jnp.bfloat16),
            "preferred_element_type": jnp.float32,
        },
        {"dimension_numbers": ("NHWC", "HWIO", "NCHW")},
        {"dimension_numbers": None, "kernel": jnp.ones((3, 5, 3, 3))},
        {"x": X.astype(jnp.int32), "kernel": KERNEL.astype(jnp.int32)},
        {"kernel": jnp.ones((7, 3, 4, 8)), "padding": "VALID"},
        {"kernel": jnp.ones((3, 3, 4, 0))},
        {
            "x": jnp.ones((2, 5, 4)),
            "kernel": jnp.ones((3, 4, 8)),
            "window_strides": (1,),
            "dimension_numbers": ("NWC", "WIO", "NWC"),
        },
        {
            "x": jnp.ones((2, 5, 5, 5, 4)),
            "kernel": jnp.ones((3, 3, 3, 4, 8)),
            "window_strides": (1, 1, 1),
            "dimension_numbers": ("NDHWC", "DHWIO", "NDHWC"),
        },
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_goes_to_jax_unchanged(arguments: dict):
    assert primitive(**arguments) == JAXS


def test_an_empty_batch_is_convolved():
    assert convolve(X[:0]).shape == (0, 5, 6, 8)


def test_explicit_sharding_follows_jax():
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, PartitionSpec("batch")))
        assert primitive(convolve, x) == JAXS


@pytest.mark.parametrize(
    "arguments",
    [
        {"feature_group_count": 3},
        {"feature_group_count": 0},
        {"window_strides": (1,)},
        {"padding": "HALF"},
        {"padding": ((1, 1),)},
        {"kernel": jnp.ones((3, 3, 5, 8))},
        {"kernel": KERNEL.astype(jnp.bfloat16)},
        {"rhs_dilation": (0, 1)},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_what_jax_refuses_is_refused_with_its_words(arguments: dict):
    with pytest.raises(Exception) as theirs:
        with ops.convolution("lax"):
            convolve(**arguments)
    with pytest.raises(type(theirs.value)) as ours:
        convolve(**arguments)
    assert str(ours.value) == str(theirs.value)


def test_the_innermost_choice_holds():
    with ops.convolution("lax"):
        assert primitive() == JAXS
        with ops.convolution("xla"):
            assert primitive() == OURS
        assert primitive() == JAXS
    assert primitive() == OURS


def test_an_unknown_choice_is_refused():
    with pytest.raises(
        ValueError, match=r"`name` must be 'default', 'native', 'xla' or 'lax', got 'fast'"
    ):
        with ops.convolution("fast"):
            pass


def test_the_context_ends_with_an_error():
    with pytest.raises(KeyError), ops.convolution("lax"):
        raise KeyError
    assert primitive() == OURS


def test_a_jitted_function_follows_the_switch_without_compiling_anew():
    traces = []

    @jax.jit
    def jitted(x, kernel):
        traces.append(primitive(convolve, x, kernel))
        return convolve(x, kernel)

    for _ in range(2):
        jitted(X, KERNEL)
        with ops.convolution("lax"):
            jitted(X, KERNEL)
    assert traces == [OURS, JAXS]


def test_the_layer_follows_the_switch():
    conv = fb.Conv(4, 8, 3, use_bias=False, rngs=nnx.Rngs(0))
    assert primitive(conv, X) == OURS
    with ops.convolution("lax"):
        assert primitive(conv, X) == JAXS


def test_a_gradient_taken_inside_the_context_is_jax_s_throughout():
    with ops.convolution("lax"):
        text = str(jax.make_jaxpr(jax.grad(lambda w: convolve(X, w).sum()))(KERNEL))
    assert OURS not in text and JAXS in text
