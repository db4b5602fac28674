"""Max pooling with PyTorch's padding."""

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Float


def max_pool(
    x: Float[Array, "n h w c"], *, kernel_size: int = 3, stride: int = 2, padding: int = 1
) -> Float[Array, "n p q c"]:
    """Return the largest value of each channel in each window.

    The padding counts as minus infinity, so it never wins.

    Args:
        x: input of shape ``(n, h, w, c)``.
        kernel_size: height and width of the window in pixels.
        stride: step of the window in pixels.
        padding: pixels added on each side.

    Returns:
        Output of shape ``(n, p, q, c)``, with
        ``p = (h + 2 * padding - kernel_size) // stride + 1`` and `q` likewise.

    Source: `torch.nn.MaxPool2d`.
    """
    lowest = np.asarray(-np.inf, x.dtype)  # a constant: JAX differentiates a maximum it knows
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    window, steps = (1, kernel_size, kernel_size, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, lowest, lax.max, window, steps, sides)
