"""Which convolutions have a native kernel, and how it is called."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks.ops.activations import Activation
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.shifts import transposed
from flaxblocks.ops.native.targets import ACTIVATIONS, VECTOR, attributes, may_take, target

GROUPS = (1, 4, 8)  # channels of a group that the narrow kernel is compiled for
FEWEST = 8  # inputs for the gradient with respect to a dense kernel, at one tap or at a row of them

Form = Callable[[jax.Array, jax.Array], jax.Array]


def form(
    first: jax.Array, second: jax.Array, role: str, geometry: Geometry, kernels: bool
) -> Form | None:
    """Return the native function that computes the array `role` names, None if none is called."""
    if not kernels:
        return None
    if role == "kernel":
        inputs, outputs = (a.shape[3] // geometry.groups for a in (first, second))
        if geometry.groups > 1 and inputs == outputs in GROUPS:
            name = "narrow_kernel"
        elif _row(inputs, geometry) >= FEWEST and outputs * first.dtype.itemsize >= VECTOR:
            name = "dense_kernel"
        else:
            return None
        return partial(_kernel_gradient, name, geometry)
    kernel = second if role == "output" else first
    inputs, outputs = kernel.shape[2], kernel.shape[3] // geometry.groups
    if role == "input":
        inputs, outputs = outputs, inputs
    name = _name(inputs, outputs, kernel, geometry)
    if geometry.is_pointwise and geometry.groups == 1 and outputs * kernel.dtype.itemsize >= VECTOR:
        keeps_pixels = (geometry.strides, geometry.padding) == ((1, 1), ((0, 0), (0, 0)))
        name = "pointwise" if keeps_pixels else "dense"
    if name is None:
        return None
    return partial(convolve if role == "output" else _input_gradient, name, geometry)


def fused_name(
    x: jax.Array,
    kernel: jax.Array,
    geometry: Geometry,
    act: Activation | None,
    kernels: bool,
) -> str | None:
    """Return the kernel that adds bias and residual and applies `act`, None if none is called."""
    if not kernels or not may_take(x) or act not in ACTIVATIONS:
        return None
    inputs, outputs = kernel.shape[2], kernel.shape[3] // geometry.groups
    if geometry.groups > 1 or not geometry.is_pointwise:
        name = _name(inputs, outputs, kernel, geometry)
    elif outputs * x.dtype.itemsize < VECTOR:
        return None
    else:
        keeps_pixels = (geometry.strides, geometry.padding) == ((1, 1), ((0, 0), (0, 0)))
        name = "pointwise" if keeps_pixels else "dense"
    return name


def convolve(
    name: str,
    geometry: Geometry,
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    residual: jax.Array | None = None,
    act: Activation | None = None,
) -> jax.Array:
    """Return ``act(convolution + bias + residual)``; what is None is left out."""
    shape = (x.shape[0], *geometry.output, kernel.shape[3])
    return _convolution(name, geometry, x, kernel, shape, bias, residual, act)


def _row(inputs: int, geometry: Geometry) -> int:
    """Return the number of inputs that lie one after the other."""
    adjacent = geometry.groups == 1 and geometry.dilation[1] == 1
    return inputs * geometry.window[1] if adjacent else inputs


def _name(inputs: int, outputs: int, like: jax.Array, geometry: Geometry) -> str | None:
    """Return the kernel for groups of so many channels."""
    if geometry.groups > 1 and inputs == outputs in GROUPS:
        return "narrow"
    return "dense" if _fills_vectors(outputs, like, geometry) else None


def _fills_vectors(outputs: int, like: jax.Array, geometry: Geometry) -> bool:
    """Return whether a dense kernel takes groups of so many outputs; 1x1 are matrix products."""
    return outputs * like.dtype.itemsize >= VECTOR and not geometry.is_pointwise


def _input_gradient(name: str, geometry: Geometry, kernel: jax.Array, g: jax.Array) -> jax.Array:
    shape = (g.shape[0], *geometry.image, kernel.shape[2] * geometry.groups)
    kernel = transposed(kernel, geometry.groups)
    return _convolution(name, geometry, g, kernel, shape, is_transposed=True)


def _convolution(
    name: str,
    geometry: Geometry,
    x: jax.Array,
    kernel: jax.Array,
    shape: tuple[int, ...],
    bias: jax.Array | None = None,
    residual: jax.Array | None = None,
    act: Activation | None = None,
    *,
    is_transposed: bool = False,
) -> jax.Array:
    nothing = jnp.zeros(0, x.dtype)
    more = {"transposed": is_transposed, "activation": np.int64(ACTIVATIONS.index(act))}
    return jax.ffi.ffi_call(target(name), jax.ShapeDtypeStruct(shape, x.dtype))(
        x,
        kernel,
        nothing if bias is None else bias,
        nothing if residual is None else residual,
        **attributes(geometry),
        **more,
    )


def _kernel_gradient(name: str, geometry: Geometry, x: jax.Array, g: jax.Array) -> jax.Array:
    shape = (*geometry.window, x.shape[3] // geometry.groups, g.shape[3])
    call = jax.ffi.ffi_call(target(name), jax.ShapeDtypeStruct(shape, x.dtype))
    return call(x, g, **attributes(geometry))
