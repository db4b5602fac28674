"""A part of a network beside PyTorch's: what comes out of it, and its gradients."""

import jax
import numpy as np
import torch
from flax import nnx

from parity.checks import measure
from parity.checks.tolerance import bound


@nnx.jit
def gradients(
    module: nnx.Module, x: jax.Array, weights: jax.Array
) -> tuple[jax.Array, nnx.State, jax.Array]:
    """Return the output in train mode, and its weighted sum's gradients by parameter and input."""

    def loss(net: nnx.Module, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = net(x)
        return (y * weights).sum(), y

    grads, y = nnx.grad(loss, argnums=(0, 1), has_aux=True)(module, x)
    return y, *grads


def assert_equal(ours: object, truth: torch.Tensor, quantity: str, name: str = "") -> None:
    """Fail unless an array is PyTorch's to float64's rounding.

    Args:
        ours: the array.
        truth: PyTorch's.
        quantity: what it is, such as ``"gradient"``, see `parity.checks.tolerance`.
        name: what the message says.
    """
    value, expected = np.asarray(ours), truth.detach().numpy()
    assert value.dtype == expected.dtype == np.float64
    assert measure.scaled_error(value, expected) <= bound("float64", quantity), name
