"""Runs a JAX module under `jax.jit` and names what it did as PyTorch would."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flaxblocks._base.functional import loss_and_gradients
from flaxblocks.layers import BatchNorm
from flaxblocks.weights import load_state_dict, state_dict
from flaxblocks.weights.entries import children, entries
from parity.sides import calling
from parity.trace.jax_program import JaxProgram

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,  # half of the time, even so
}
"""What makes XLA compile for CPU without optimizing machine code."""


@dataclass
class FlaxRun:
    """What one run of a JAX module produced, under native names."""

    # each module's output by its path, NHWC; the whole module's is under ``""``
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    loss: float = 0.0  # the loss of a train-mode step
    # the gradient of each parameter by name, in PyTorch's layout, and the input's, NHWC, under
    # ``"input"``
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    # parameters and statistics after the run, in PyTorch's layout
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


def output_shape(module: nnx.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the module's output, without running it."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return nnx.eval_shape(lambda module, x: calling.call(module, x, False), module, x).shape


def forward(module: nnx.Module, x: np.ndarray, dtype: str) -> FlaxRun:
    """Run the module in eval mode."""
    module.eval()
    graphdef, state = nnx.split(module)
    _, outputs = _FORWARD[dtype](graphdef, state, jnp.asarray(x, dtype))
    return FlaxRun(outputs=_numpy(outputs))


def train_step(module: nnx.Module, x: np.ndarray, target: np.ndarray, dtype: str) -> FlaxRun:
    """Run the module forward and backward in train mode; the module itself stays as it is.

    The loss is half the mean square of ``output - target``.
    """
    train_mode(module)
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    loss, stats, gradients, outputs = LOSS_AND_GRADIENTS[dtype](
        graphdef, params, rest, jnp.asarray(x, dtype), jnp.asarray(target, dtype)
    )
    after = nnx.merge(graphdef, gradients[0], rest)
    nnx.update(after, stats)
    named = state_dict(after)
    is_param = {
        name: isinstance(e.variable, nnx.Param)
        for name, e in entries(after).items()
        if e.variable is not None
    }
    return FlaxRun(
        outputs=_numpy(outputs),
        loss=float(loss),
        gradients={name: named[name] for name in is_param if is_param[name]}
        | {"input": np.asarray(gradients[1])},
        state={name: named[name] for name in is_param if not is_param[name]},
    )


def program(module: nnx.Module, x: np.ndarray, mode: str) -> JaxProgram:
    """Return the module's program, which gives its output and its statistics by native name.

    Args:
        module: the module; it is switched to the mode.
        x: the input.
        mode: ``"eval"``, ``"train"``, or ``"dropout"``: train mode with dropout switched on.
    """
    switch = {"eval": nnx.Module.eval, "train": train_mode, "dropout": nnx.Module.train}
    switch[mode](module)
    graphdef, state = nnx.split(module)

    def function(state: Any, x: jax.Array) -> Any:
        merged = nnx.merge(graphdef, state)
        output = calling.call(merged, x, mode != "eval")
        kept = {name: entry.variable for name, entry in entries(merged).items()}
        statistics = {n: v[...] for n, v in kept.items() if isinstance(v, nnx.BatchStat)}
        return output, statistics

    return JaxProgram.of(function, state, jnp.asarray(x))


def drops(module: nnx.Module) -> bool:
    """Return whether the module's dropout can be switched on: each has its random numbers."""
    parts = [part for _, part in nnx.iter_modules(module) if isinstance(part, nnx.Dropout)]
    return bool(parts) and all(part.rngs is not None for part in parts)


def train_mode(module: nnx.Module) -> None:
    """Switch to train mode, but leave dropout switched off."""
    module.train()
    for _, part in nnx.iter_modules(module):
        if isinstance(part, nnx.Dropout):
            part.deterministic = True
            part.rate = 0.0  # a call may switch it on again


def _forward(graphdef: Any, state: Any, x: jax.Array) -> Any:
    return _recorded(nnx.merge(graphdef, state), x, training=False)


def _loss_and_gradients(
    graphdef: Any, params: Any, rest: Any, x: jax.Array, target: jax.Array
) -> Any:
    return loss_and_gradients(graphdef, params, rest, x, target, apply=_recorded)


@dataclass(frozen=True, eq=False)
class _Structure:
    """A module's structure as a key, even where an attribute, such as a list, has no hash."""

    graphdef: Any

    def __hash__(self) -> int:
        return hash((len(self.graphdef.attributes), self.graphdef.num_leaves))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Structure) and bool(self.graphdef == other.graphdef)


def compiled(function: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Return the function for each dtype, compiled when called; its first is a module's structure.

    Float32 is compiled as users compile it.
    """

    def unwrapped(structure: _Structure, *arguments: Any) -> Any:
        return function(structure.graphdef, *arguments)

    def made(compile_: Callable[..., Any]) -> Callable[..., Any]:
        jitted = compile_(unwrapped, static_argnums=0)
        return lambda graphdef, *arguments: jitted(_Structure(graphdef), *arguments)

    return {"float32": made(jax.jit), "float64": made(compiled_float64)}


def compiled_float64(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Return the function, compiled when called, and hardly optimized.

    Float64 is there for its meaning: to compile it costs more than to run it.
    """
    return jax.jit(function, compiler_options=QUICK, **options)


_FORWARD = compiled(_forward)
LOSS_AND_GRADIENTS = compiled(_loss_and_gradients)


def _recorded(
    module: nnx.Module, x: jax.Array, training: bool = True
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return the module's output, and every submodule's by its native name.

    `nnx.capture` does the same, but leaves out methods that a class inherits.
    """
    names = {id(part): name for name, part in named_modules(module)}
    kinds = {type(part) for _, part in named_modules(module) if callable(part)}
    own = {kind: kind.__dict__.get("__call__") for kind in kinds}
    calls = {kind: kind.__call__ for kind in kinds}
    outputs: dict[str, jax.Array] = {}

    def recorder(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def recorded(part: nnx.Module, *args: Any, **kwargs: Any) -> Any:
            value = call(part, *args, **kwargs)
            if id(part) in names and isinstance(value, jax.Array):
                if isinstance(part, BatchNorm) and kwargs.get("act") is not None:
                    # PyTorch's has its activation after it; the copy keeps the statistics alone.
                    before = call(nnx.clone(part), *args, **{**kwargs, "act": None})
                else:
                    before = value
                outputs[names[id(part)]] = before
            return value

        return recorded

    try:
        for kind, call in calls.items():
            setattr(kind, "__call__", recorder(call))  # noqa: B010 - `kind` is any class
        return calling.call(module, x, training), outputs
    finally:
        for kind, call in own.items():
            if call is None:
                delattr(kind, "__call__")
            else:
                setattr(kind, "__call__", call)  # noqa: B010


def named_modules(module: nnx.Module, name: str = "") -> Iterator[tuple[str, nnx.Module]]:
    """Yield every module of the tree with its native name, as PyTorch's `named_modules` does."""
    yield name, module
    for child, part in children(module):
        yield from named_modules(part, f"{name}.{child}" if name else child)


def _numpy(outputs: Mapping[str, jax.Array]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in outputs.items()}
