"""Activations: PyTorch's values and gradients, where they bend too, and on what is not a number."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import torch_ref
from flaxblocks.ops import activations
from parity.checks import measure
from parity.checks.tolerance import bound
from tests.helpers.twins import assert_same
from tests.helpers.typed import gradient_of
from torch_ref.harness.exact_gradients import ExactGradients

pytestmark = pytest.mark.usefixtures("quick")

KINKS = (-6.0, -3.0, 0.0, -0.0, 3.0, 6.0)
POINTS = np.concatenate(
    [
        KINKS,
        *(np.nextafter([kink for kink in KINKS if kink], side) for side in (-np.inf, np.inf)),
        (np.finfo(float).tiny, -np.finfo(float).tiny),  # XLA takes smaller ones for zero
        np.linspace(-9, 9, 181),
        np.random.default_rng(0).normal(0, 4, 200),
        (-700.0, 700.0),
    ]
)
every_activation = pytest.mark.parametrize("name", activations.__all__)


def torch_function(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return PyTorch's own function."""
    if name == "gelu_tanh":
        return partial(torch.nn.functional.gelu, approximate="tanh")
    written = "leaky_relu" if name == "leaky_relu" else name.replace("_", "")
    return getattr(torch.nn.functional, written)


def values_and_gradients(name: str, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return PyTorch's values and derivatives, from its own functions."""
    x = torch.from_numpy(points).requires_grad_()
    with ExactGradients():
        y = torch_function(name)(x)
    y.sum().backward()
    return y.detach().numpy(), gradient_of(x)


@pytest.mark.parametrize("call", [torch.nn.functional.hardsigmoid, torch.nn.Hardsigmoid()])
def test_the_exact_hard_sigmoid_is_pytorchs_but_for_the_sixth(call):
    x = torch.from_numpy(POINTS).requires_grad_()
    y = call(x)
    (own,) = torch.autograd.grad(y.sum(), x)
    assert set(own.numpy()) == {0.0, float(np.float32(1 / 6))}
    with ExactGradients():
        exact = call(x)
        narrow = call(x.to(torch.float32))
    (gradient,) = torch.autograd.grad(exact.sum(), x)
    assert set(gradient.numpy()) == {0.0, 1 / 6}
    assert torch.equal(gradient > 0, own > 0)
    np.testing.assert_allclose(exact.detach(), y.detach(), rtol=0, atol=1e-15)
    assert torch.equal(narrow, call(x.float()))


def test_both_libraries_have_the_same_activations():
    assert activations.__all__ == torch_ref.activations.__all__


@every_activation
def test_equals_pytorch_in_value_and_gradient(name: str, x64):
    function = getattr(activations, name)
    y, pullback = jax.vjp(jax.jit(function), jnp.asarray(POINTS))
    (gradient,) = pullback(jnp.ones_like(y))
    values, gradients = values_and_gradients(name, POINTS)
    assert_same(y, values)
    assert_same(gradient, gradients, "gradient")


@every_activation
@pytest.mark.parametrize("kink", KINKS)
def test_has_pytorchs_gradient_exactly_where_it_bends(name: str, kink: float, x64):
    gradient = jax.grad(getattr(activations, name))(jnp.asarray(kink))
    _, expected = values_and_gradients(name, np.array([kink]))
    # As a fraction of 1, which is what these gradients go up to: beside it a tail is rounding.
    error = measure.scaled_error(np.asarray(gradient), expected[0], 1.0)
    assert error <= bound("float64", "gradient")


@every_activation
@pytest.mark.parametrize("point", [np.nan, np.inf, -np.inf])
def test_keeps_what_is_not_finite_as_pytorch_does(name: str, point: float, x64):
    values, _ = values_and_gradients(name, np.array([point]))
    np.testing.assert_array_equal(getattr(activations, name)(jnp.asarray([point])), values)


@every_activation
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32], ids=str)
def test_keeps_the_dtype(name: str, dtype: type):
    assert getattr(activations, name)(jnp.asarray([-1.0, 4.0, 7.0], dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_halves_of_gelu_are_pytorchs_but_for_a_last_bit(dtype: torch.dtype):
    points = torch.from_numpy(POINTS[np.abs(POINTS) < 10]).to(dtype)
    values, gradients = values_and_gradients("gelu", points.double().numpy())
    name = str(dtype).removeprefix("torch.")
    y, pullback = jax.vjp(activations.gelu, jnp.asarray(points.float().numpy(), name))
    (gradient,) = pullback(jnp.ones_like(y))
    spacing = torch.finfo(dtype).eps
    np.testing.assert_allclose(np.asarray(y, float), values, rtol=spacing, atol=1e-6)
    np.testing.assert_allclose(np.asarray(gradient, float), gradients, rtol=spacing, atol=1e-6)


@pytest.mark.parametrize(("platform", "again"), [("cpu", 0), ("cuda", 1), ("tpu", 1)])
def test_only_an_accelerator_computes_gelus_gradient_from_its_input(platform: str, again: int):
    x = jax.ShapeDtypeStruct((8,), jnp.bfloat16)
    gradient = jax.jit(jax.grad(lambda x: activations.gelu(x).sum()))
    lowered = gradient.trace(x).lower(lowering_platforms=(platform,)).as_text()
    assert lowered.count("optimization_barrier") == again
    assert "erfc" not in lowered
