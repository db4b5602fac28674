"""Runs a Flax module under `jax.jit` and names what it did as PyTorch would."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flaxblocks.weights import load_state_dict, state_dict
from flaxblocks.weights.entries import children, entries


@dataclass
class FlaxRun:
    """What one run of a Flax module produced, under native names.

    Args:
        outputs: each module's output by its path, NHWC; the whole module's is under ``""``.
        loss: the loss of a train-mode step.
        gradients: the gradient of each parameter by name, in PyTorch's layout, and the input's,
            NHWC, under ``"input"``.
        state: parameters and statistics after the run, in PyTorch's layout.
    """

    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    loss: float = 0.0
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    state: dict[str, np.ndarray] = field(default_factory=dict)


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Run in ``"float32"`` or ``"float64"``, with products as exact as the device can make them."""
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        yield


def with_weights(module: nnx.Module, weights: Mapping[str, np.ndarray], dtype: str) -> nnx.Module:
    """Return a copy of the module with native weights, in ``"float32"`` or ``"float64"``."""
    copy = nnx.clone(module)
    load_state_dict(copy, weights, dtype=jnp.dtype(dtype))
    return copy


def forward(module: nnx.Module, x: np.ndarray, dtype: str) -> FlaxRun:
    """Run the module in eval mode."""
    module.eval()
    graphdef, state = nnx.split(module)
    _, captured = _forward(graphdef, state, jnp.asarray(x, dtype))
    return FlaxRun(outputs=_named(module, captured))


def train_step(module: nnx.Module, x: np.ndarray, target: np.ndarray, dtype: str) -> FlaxRun:
    """Run the module forward and backward in train mode; the module itself stays as it is.

    The loss is half the mean square of ``output - target``.
    """
    train_mode(module)
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    loss, stats, gradients, captured = loss_and_gradients(
        graphdef, params, rest, jnp.asarray(x, dtype), jnp.asarray(target, dtype)
    )
    after = nnx.merge(graphdef, gradients[0], rest)
    nnx.update(after, stats)
    named = state_dict(after)
    is_param = {name: isinstance(e.variable, nnx.Param) for name, e in entries(after).items()}
    return FlaxRun(
        outputs=_named(module, captured),
        loss=float(loss),
        gradients={name: named[name] for name in named if is_param[name]}
        | {"input": np.asarray(gradients[1])},
        state={name: named[name] for name in named if not is_param[name]},
    )


def train_mode(module: nnx.Module) -> None:
    """Switch to train mode, but leave dropout switched off."""
    module.train()
    for _, part in nnx.iter_modules(module):
        if isinstance(part, nnx.Dropout):
            part.deterministic = True


@partial(jax.jit, static_argnums=0)
def _forward(graphdef: Any, state: Any, x: jax.Array) -> Any:
    return _captured(nnx.merge(graphdef, state), x)


@partial(jax.jit, static_argnums=0)
def loss_and_gradients(
    graphdef: Any, params: Any, rest: Any, x: jax.Array, target: jax.Array
) -> Any:
    """Return the loss, the new statistics, the gradients of parameters and input, the outputs."""

    def loss_of(params: Any, x: jax.Array) -> Any:
        module = nnx.merge(graphdef, params, rest, copy=True)  # its statistics are updated
        y, captured = _captured(module, x)
        loss = jnp.mean(jnp.square(y - target)) / 2
        return loss, (nnx.state(module, nnx.BatchStat), captured)

    (loss, (stats, captured)), gradients = jax.value_and_grad(loss_of, (0, 1), has_aux=True)(
        params, x
    )
    return loss, stats, gradients, captured


def _captured(module: nnx.Module, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return the module's output, and every submodule's by its path in the module."""
    run = nnx.capture(module, nnx.Intermediate, method_outputs=nnx.Intermediate)
    y, sown = run(x)
    last = {
        _joined(path[:-1]): values.get_value()[-1]
        for path, values in nnx.to_flat_state(sown)
        if path[-1] == "__call__"
    }
    return y, {path: value for path, value in last.items() if isinstance(value, jax.Array)}


def _joined(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def _named(module: nnx.Module, captured: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    names = {id(part): name for name, part in named_modules(module)}
    paths = {_joined(path): names.get(id(part)) for path, part in nnx.iter_modules(module)}
    found = {paths[path]: np.asarray(value) for path, value in captured.items()}
    return {name: value for name, value in found.items() if name is not None}


def named_modules(module: nnx.Module, name: str = "") -> Iterator[tuple[str, nnx.Module]]:
    """Yield every module of the tree with its native name, as PyTorch's `named_modules` does."""
    yield name, module
    for child, part in children(module):
        yield from named_modules(part, f"{name}.{child}" if name else child)
