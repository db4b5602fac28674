"""Random weights and inputs for a task, the same for every contestant."""

from collections.abc import Mapping
from math import prod

import jax
import numpy as np
from flax import nnx

from flaxblocks.bench.tasks.subjects import subject
from flaxblocks.bench.tasks.task import Data, Task
from flaxblocks.weights.entries import COUNTER
from flaxblocks.weights.state_dict import named_entries


def draw(task: Task) -> Data:
    """Return weights, input and target.

    Statistics, scales and biases are random too, so that an answer without them is a wrong one;
    kernels keep the size of what passes through, so that nothing overflows or gets so small that
    the processor slows down.
    """
    generator = np.random.default_rng(0)
    module = subject(task.subject)
    weights = _weights(module.abstract(), module.names, generator)
    x = module.input(task.batch, task.size)
    return Data(
        weights=weights,
        names=module.names,
        x=_normal(generator, x.shape),
        target=_normal(generator, _output(module.abstract(), x)),
    )


def _weights(
    module: nnx.Module, names: str, generator: np.random.Generator
) -> Mapping[str, np.ndarray]:
    return {
        name: _tensor(name, tuple(entry.shape), generator)
        for name, entry in named_entries(module, names).items()
    }


def _tensor(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    if name.endswith(COUNTER):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) > 1:
        return _normal(generator, shape) * np.float32((2 / prod(shape[1:])) ** 0.5)
    return _normal(generator, shape) / 10 + np.float32(name.endswith("weight"))


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.standard_normal(shape, np.float32)


def _output(module: nnx.Module, x: jax.ShapeDtypeStruct) -> tuple[int, ...]:
    module.eval()
    return nnx.eval_shape(lambda module, x: module(x), module, x).shape
