"""A block in both libraries, with the same random weights, and how their results compare."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import flaxblocks as fb
from parity.cases import CASES, VARIANT_CASES, Case
from parity.checks import measure
from parity.checks.tolerance import bound
from parity.sides.weights import randomize
from torch_ref.harness.layout import from_nhwc, to_nhwc

BY_NAME = {case.name: case for case in CASES}

# What these vary, a default or a published variant of another block varies too.
REPEATED = tuple(
    case
    for case in VARIANT_CASES
    if case.name.partition("/")[2]
    in ("identity", "dilated", "default", "even-kernel", "stride2", "expansion1")
)


def torch_twin(case: Case, seed: int = 0) -> torch.nn.Module:
    """Return the PyTorch module in float64, with random weights and statistics."""
    module = case.build_torch().double()
    randomize(module, np.random.default_rng(seed))
    return module


def flax_twin(case: Case, weights: dict, dtype: type = jnp.float64) -> nnx.Module:
    """Return the Flax module with these weights."""
    module = nnx.eval_shape(lambda: case.build_flax(param_dtype=dtype))
    fb.load_state_dict(module, weights)
    return module


def image(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return a random NHWC input in float64."""
    return np.random.default_rng(seed).normal(size=shape)


def run_torch(module: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    """Return the module's output for an NHWC input, as NHWC."""
    with torch.no_grad():
        return to_nhwc(module(from_nhwc(x)))


def assert_same(value: object, truth: object, quantity: str = "output") -> None:
    """Fail where a float64 result is not the same as PyTorch's."""
    value, truth = np.asarray(value), np.asarray(truth)
    assert value.dtype == truth.dtype == np.float64
    assert measure.scaled_error(value, truth) <= bound("float64", quantity)


@nnx.jit
def train_then_eval(module: nnx.Module, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the outputs of a call in train mode and of one in eval mode after it."""
    module.train()
    in_train_mode = module(x)
    module.eval()
    return in_train_mode, module(x)
