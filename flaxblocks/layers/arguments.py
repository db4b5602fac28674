"""The arguments that every layer and block hands on to its parts."""

from typing import TypedDict

import jax.numpy as jnp
from flax import nnx

from flaxblocks.layers.conv import Padding
from flaxblocks.layers.optional import ModuleFactory


class ModuleArguments(TypedDict):
    """What every module takes: dtypes of computation and parameters, and random streams."""

    dtype: jnp.dtype | type | None
    param_dtype: jnp.dtype | type
    rngs: nnx.Rngs


class UnitArguments(ModuleArguments):
    """What the convolutions of a block have in common, beside."""

    use_bias: bool
    norm: ModuleFactory | None


class ConvArguments(ModuleArguments):
    """What a convolution takes after its channels and its kernel's size."""

    stride: int | tuple[int, int]
    dilation: int | tuple[int, int]
    groups: int
    padding: Padding
    use_bias: bool
