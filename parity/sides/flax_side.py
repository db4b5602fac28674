# pyright: reportUnknownMemberType=false
"""Runs a JAX module under `jax.jit` and names what it did as PyTorch would."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial, wraps
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flaxblocks._base.functional import half_mean_square, loss_and_gradients
from flaxblocks.layers import BatchNorm
from flaxblocks.ops import conv_general_dilated
from flaxblocks.weights import load_state_dict, state_dict
from flaxblocks.weights.entries import children, entries
from parity.sides import calling
from parity.sides.calls import Input, inputs_of, is_float, next_call, outputs_of, widened
from parity.sides.compiling import compiled
from parity.sides.ports.port import Port
from parity.sides.tied import under_all_names
from parity.trace.jax_program import JaxProgram
from parity.trace.widen import in_float64

RECURRENT = (nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell)


@dataclass
class FlaxRun:
    """What one run of a JAX module produced, under native names."""

    # each module's output by its path, NHWC; the whole module's is under ``""``, its further ones
    # are under their names
    outputs: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    loss: float = 0.0  # the loss of a train-mode step
    # the gradient of each parameter by name, in PyTorch's layout, and those of the inputs, NHWC,
    # the first under ``"input"``
    gradients: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    # parameters and statistics after the run, in PyTorch's layout
    state: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])


@contextmanager
def precision(dtype: str) -> Generator[None]:
    """Run in ``"float32"`` or ``"float64"``, with products as exact as the device can make them."""
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        yield


def with_weights(module: nnx.Module, weights: Mapping[str, np.ndarray], dtype: str) -> nnx.Module:
    """Return a copy of the module with native weights, in ``"float32"`` or ``"float64"``."""
    copy = nnx.clone(module)
    known = entries(copy)
    weights = under_all_names(weights, known)
    real = {name: np.real(value) for name, value in weights.items()}
    load_state_dict(copy, real, dtype=jnp.dtype(dtype))
    for name, entry in known.items():  # complex numbers are in no checkpoint
        held = entry.variable
        if held is not None and jnp.iscomplexobj(held.get_value()):
            own = entry.layout.from_torch(weights[name])
            held.set_value(jnp.asarray(own, jnp.result_type(dtype, jnp.complex64)))
    for _, part in nnx.iter_modules(copy):
        if isinstance(part, nnx.Embed) and part.dtype == part.param_dtype:
            part.dtype = jnp.dtype(dtype)  # it writes down the dtype that its weights had
        if isinstance(part, nnx.Conv) and dtype == "float64" and part.dtype is None:
            if part.conv_general_dilated is jax.lax.conv_general_dilated:
                part.conv_general_dilated = conv_general_dilated  # XLA's takes gigabytes in groups
        if isinstance(part, RECURRENT):
            part.param_dtype = jnp.dtype(dtype)  # that of the state with which it starts
        if isinstance(part, nnx.MultiHeadAttention):
            part.attention_fn = _exact_attention(part.attention_fn)
    return copy


@cache
def _exact_attention(attend: Callable[..., Any]) -> Callable[..., Any]:
    """Return an attention that keeps float64: JAX's own computes its logits in float32."""

    def attention(query: Any, key: Any, value: Any, **options: Any) -> Any:
        return in_float64(lambda *arrays: attend(*arrays, **options))(query, key, value)

    return attention


def output_shapes(module: nnx.Module, x: Input) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the module's outputs, without running it."""

    def output_of(module: nnx.Module, x: Input) -> Any:
        return calling.call(module, x, False)

    output = nnx.eval_shape(output_of, module, x)
    return {name: value.shape for name, value in outputs_of(output).items()}


def _split(module: nnx.Module, *filters: Any) -> tuple[Any, ...]:
    """Return what `nnx.split` does, of which NNX tells no types."""
    return cast(tuple[Any, ...], nnx.split(module, *filters))


def forward(module: nnx.Module, x: Input, dtype: str) -> FlaxRun:
    """Run the module in eval mode."""
    module.eval()
    graphdef, state = _split(module)
    outputs, _ = _FORWARD[False][dtype](graphdef, state, widened(x, dtype))
    return FlaxRun(outputs=_numpy(outputs))


def train_forward(module: nnx.Module, x: Input, dtype: str, training: bool) -> FlaxRun:
    """Run the module forward alone in train mode: its outputs, and where its statistics move."""
    switch(module, training)
    graphdef, state = _split(module)
    outputs, stats = _FORWARD[training][dtype](graphdef, state, widened(x, dtype))
    after = nnx.merge(graphdef, state)
    nnx.update(after, stats)
    return FlaxRun(outputs=_numpy(outputs), state=_statistics(after))


def train_step(
    module: nnx.Module, x: Input, target: Mapping[str, np.ndarray], dtype: str, training: bool
) -> FlaxRun:
    """Run the module forward and backward; the module itself stays as it is.

    The loss is half the mean square of ``output - target``, summed over the outputs.

    Args:
        module: the module.
        x: the input.
        target: what the loss compares each output with.
        dtype: ``"float32"`` or ``"float64"``.
        training: whether in train mode.
    """
    switch(module, training)
    graphdef, params, rest = _split(module, nnx.Param, ...)
    loss, stats, gradients, outputs = LOSS_AND_GRADIENTS[training][dtype](
        graphdef, params, rest, widened(x, dtype), widened(target, dtype)
    )
    after = nnx.merge(graphdef, gradients[0], rest)
    nnx.update(after, stats)
    named = state_dict(after)
    params_of = {n for n, e in entries(after).items() if isinstance(e.variable, nnx.Param)}
    return FlaxRun(
        outputs=_numpy(outputs),
        loss=float(loss),
        # JAX's gradient of a complex parameter is the conjugate of PyTorch's.
        gradients={name: np.conj(named[name]) for name in params_of} | _numpy(gradients[1]),
        state=_statistics(after),
    )


def _statistics(module: nnx.Module) -> dict[str, np.ndarray]:
    """Return what the module holds beside its parameters, in PyTorch's layout."""
    named, known = state_dict(module), entries(module)
    held = {n for n, e in known.items() if not isinstance(e.variable, nnx.Param | None)}
    return {name: named[name] for name in held}


def program(module: nnx.Module, x: Input, mode: str) -> JaxProgram:
    """Return the module's program, which gives its output and its statistics by native name.

    Args:
        module: the module; it is switched to the mode.
        x: the input.
        mode: ``"eval"``, ``"train"``, or ``"dropout"``: train mode with dropout switched on.
    """
    module.train() if mode == "dropout" else switch(module, mode == "train")
    if isinstance(module, Port):
        module.drops = mode == "dropout"
    graphdef, state = _split(module)

    def function(state: Any, x: Any) -> Any:
        merged = nnx.merge(graphdef, state)
        output = outputs_of(calling.call(merged, x, mode != "eval"))
        kept = {name: entry.variable for name, entry in entries(merged).items()}
        statistics = {n: v[...] for n, v in kept.items() if isinstance(v, nnx.BatchStat)}
        return output, statistics

    return JaxProgram.of(function, state, jax.tree.map(jnp.asarray, x))


def drops(module: nnx.Module) -> bool:
    """Return whether the module's dropout can be switched on: each has its random numbers."""
    if isinstance(module, Port):
        return module.dropping is not None
    parts = [part for _, part in nnx.iter_modules(module) if isinstance(part, nnx.Dropout)]
    return bool(parts) and all(part.rngs is not None for part in parts)


def switch(module: nnx.Module, training: bool) -> None:
    """Switch to eval mode, or to train mode with dropout left switched off."""
    if not training:
        module.eval()
        return
    module.train()
    for _, part in nnx.iter_modules(module):
        if isinstance(part, nnx.Dropout):
            part.deterministic = True
            part.rate = 0.0  # a call may switch it on again


def _forward(training: bool, graphdef: Any, state: Any, x: Any) -> Any:
    module = nnx.merge(graphdef, state)
    _, outputs = _recorded(module, x, training)
    return outputs, nnx.state(module, nnx.BatchStat)


def _loss_and_gradients(
    training: bool, graphdef: Any, params: Any, rest: Any, x: Any, target: Any
) -> Any:
    arrays, structure = inputs_of(x), jax.tree.structure(x)
    floats = {name: array for name, array in arrays.items() if is_float(array)}

    def apply(module: nnx.Module, floats: Any) -> Any:
        given = jax.tree.unflatten(structure, list((arrays | floats).values()))
        return _recorded(module, given, training)

    return loss_and_gradients(graphdef, params, rest, floats, target, loss=_summed, apply=apply)


def _finding_maxima(function: Callable[..., Any], graphdef: Any, *arguments: Any) -> Any:
    """Call the function; in float64 numbers are equal where rounding alone tells them apart."""
    if not any(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(arguments)):
        return function(graphdef, *arguments)
    return JaxProgram.of(partial(function, graphdef), *arguments).outputs(arguments)


def _summed(outputs: Any, target: Any) -> jax.Array:
    return sum((half_mean_square(outputs[n], target[n]) for n in target), jnp.zeros(()))


_FORWARD = {training: compiled(partial(_forward, training)) for training in (False, True)}
LOSS_AND_GRADIENTS = {
    training: compiled(partial(_finding_maxima, partial(_loss_and_gradients, training)))
    for training in (False, True)
}
"""By whether it trains, and by dtype."""


def _recorded(
    module: nnx.Module, x: Any, training: bool
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Return the module's outputs, and every submodule's by its native name.

    `nnx.capture` does the same, but leaves out methods that a class inherits.
    """
    names: dict[int, str] = {}
    for name, part in named_modules(module):
        names.setdefault(id(part), name)  # the first, as PyTorch's is
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
                outputs[next_call(outputs, names[id(part)])] = before
            return value

        return recorded

    try:
        for kind, call in calls.items():
            setattr(kind, "__call__", recorder(call))  # noqa: B010 - `kind` is any class
        results = outputs_of(calling.call(module, x, training))
        return results, outputs | results
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
