"""Convolutions by the door, by JAX and by the definition, and how their derivatives compare."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from flaxblocks import ops

TOLERANCE = 1e-12  # of the array's scale, in float64: some thousand additions in another order
NHWC = ("NHWC", "HWIO", "NHWC")


@dataclass(frozen=True)
class Configuration:
    """One convolution: the shapes and the arguments."""

    x: tuple[int, int, int, int]
    kernel: tuple[int, int, int, int]
    window_strides: tuple[int, int] = (1, 1)
    padding: str | tuple[tuple[int, int], tuple[int, int]] = "SAME"
    rhs_dilation: tuple[int, int] = (1, 1)
    feature_group_count: int = 1

    def arguments(self) -> dict:
        given = asdict(self)
        return {key: given[key] for key in given if key not in ("x", "kernel")}


def random_configuration(
    rng: np.random.Generator, channels: Callable | None = None
) -> Configuration:
    """Draw a convolution whose output is not empty; stride and dilation are not both above 1.

    `channels` draws the groups and the channels of input and output in each.
    """
    while True:
        c = _draw(rng, channels or _channels)
        if not (max(c.window_strides) > 1 and max(c.rhs_dilation) > 1) and _has_output(c):
            return c


def _draw(rng: np.random.Generator, channels: Callable) -> Configuration:
    def pair(low: int, high: int) -> tuple[int, int]:
        return (int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1)))

    window = (1, 1) if rng.random() < 0.25 else pair(1, 7)
    strides = pair(1, 3) if rng.random() < 0.5 else (1, 1)
    dilation = pair(1, 3) if rng.random() < 0.3 else (1, 1)
    names = ["SAME", "VALID", "SAME_LOWER"]
    padding = (pair(-1, 4), pair(-1, 4)) if rng.random() < 0.7 else names[rng.integers(3)]
    groups, inputs, outputs = channels(rng)
    n, (height, width) = int(rng.integers(1, 10)), pair(1, 13)
    return Configuration(
        (n, height, width, groups * inputs),
        (window[0], window[1], inputs, groups * outputs),
        strides,
        padding,
        dilation,
        groups,
    )


def _channels(rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw the groups and the channels of input and output in each: 1 to 129 channels."""
    kind = rng.integers(4)
    if kind == 0:
        return 1, int(rng.integers(1, 130)), int(rng.integers(1, 130))
    if kind == 1:
        return int(rng.integers(1, 130)), 1, 1
    if kind == 2:  # a depth multiplier
        return int(rng.integers(1, 43)), 1, int(rng.integers(1, 4))
    inputs, outputs = int(rng.integers(1, 21)), int(rng.integers(1, 21))
    return int(rng.integers(1, 129 // max(inputs, outputs) + 1)), inputs, outputs


def _has_output(c: Configuration) -> bool:
    strides, dilation = c.window_strides, c.rhs_dilation
    reach = [d * (taps - 1) + 1 for d, taps in zip(dilation, c.kernel, strict=False)]
    padding = c.padding
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(c.x[1:3], reach, strides, padding)
    return all(
        min(size + low + high, size + low, size + high) > 0 and size + low + high >= taps
        for size, taps, (low, high) in zip(c.x[1:3], reach, padding, strict=True)
    )


def by_lax(x: jax.Array, kernel: jax.Array, **arguments) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, **arguments, dimension_numbers=NHWC)


def by_sums(
    x: jax.Array, kernel: jax.Array, window_strides, padding, rhs_dilation, feature_group_count
) -> jax.Array:
    """Convolve by the definition, without any convolution of XLA's. The padding is in numbers."""
    groups, (height, width, inputs, _) = feature_group_count, kernel.shape
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    x = x.reshape(*x.shape[:3], groups, inputs)
    kernel = kernel.reshape(height, width, inputs, groups, -1)
    (s, t), (d, e) = window_strides, rhs_dilation
    rows, columns = x.shape[1] - d * (height - 1), x.shape[2] - e * (width - 1)
    y = jnp.stack(
        [
            jnp.einsum(
                "nhwgi,igo->nhwgo",
                x[:, d * i : d * i + rows : s, e * j : e * j + columns : t],
                kernel[i, j],
            )
            for i in range(height)
            for j in range(width)
        ]
    ).sum(0)
    return y.reshape(*y.shape[:3], -1)


def by_door(x: jax.Array, kernel: jax.Array, **arguments) -> jax.Array:
    return ops.conv_general_dilated(x, kernel, **arguments, dimension_numbers=NHWC)


def derivatives(convolve: Callable, c: Configuration) -> Callable:
    """Return the function of all that is compared: value, derivatives, second derivatives."""

    def function(x, kernel):
        return convolve(x, kernel, **c.arguments())

    def everything(x, kernel, dx, dkernel, g):
        y, tangent = jax.jvp(function, (x, kernel), (dx, dkernel))
        # The gradients, and how they move along the tangents: forward over reverse.
        gradients, moved = jax.jvp(
            lambda x, kernel: jax.vjp(function, x, kernel)[1](g), (x, kernel), (dx, dkernel)
        )
        # Reverse over reverse: how a product with the gradients moves with `g`.
        _, pullback = jax.vjp(jax.vjp(function, x, kernel)[1], g)
        (again,) = pullback((dx, dkernel))
        return {
            "value": y,
            "tangent": tangent,
            "input gradient": gradients[0],
            "kernel gradient": gradients[1],
            "second, input": moved[0],
            "second, kernel": moved[1],
            "second, output": again,
        }

    return everything


def check(c: Configuration, reference: Callable = by_lax, seed: int = 0) -> None:
    """Fail unless the door and the reference agree in everything."""
    rng = np.random.default_rng(seed)
    output = jax.eval_shape(
        lambda x, kernel: reference(x, kernel, **c.arguments()), *map(_float64, (c.x, c.kernel))
    )
    shapes = (c.x, c.kernel, c.x, c.kernel, output.shape)
    arrays = [jnp.asarray(rng.standard_normal(shape)) for shape in shapes]
    # As a whole: without optimization that compiles sooner than operation by operation.
    ours, theirs = (jax.jit(derivatives(f, c))(*arrays) for f in (by_door, reference))
    for name, expected in theirs.items():
        # In NumPy, which compiles nothing for a new shape.
        a, b = np.asarray(ours[name]), np.asarray(expected)
        assert a.shape == b.shape, (name, c)
        assert np.abs(a - b).max() <= TOLERANCE * np.abs(b).max(), (name, c)


def _float64(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float64)
