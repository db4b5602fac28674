# pyright: basic
"""A Keras 3 model on JAX."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import keras

from flaxblocks.weights import axes
from flaxblocks.weights.axes import Axes
from parity.sides.ports.noting import noting
from parity.sides.ports.port import Arrays, Port, named, variable
from parity.trace.widen import in_float64

NORMS = (
    *(keras.layers.BatchNormalization, keras.layers.LayerNormalization),
    *(keras.layers.GroupNormalization, keras.layers.RMSNormalization),
)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)


def as_port(model: keras.Model) -> Port:
    """Return a model as a port.

    Keras computes in the dtype of its layers, whatever it is given. Where the weights are in
    float64, what it would round to float32 is kept in float64.

    Raises:
        ValueError: if Keras runs on another backend, or the model is not built.
    """
    if keras.config.backend() != "jax":
        raise ValueError(
            f"`jax_module`: Keras must run on JAX (KERAS_BACKEND=jax), got {keras.config.backend()}"
        )
    if not model.built:
        raise ValueError("`jax_module` must be a Keras model that is built, got one that is not")
    trained, rest = model.trainable_variables, model.non_trainable_variables
    names = {id(v): named((v.path,)) for v in (*trained, *rest)}
    owners = {id(v): layer for layer in model._flatten_layers() for v in layer.variables}
    known = {names[id(v)]: _layout(owners[id(v)], v) for v in (*trained, *rest)}
    held = {
        name: variable(name, v.value, known[name], v.trainable)
        for v in (*trained, *rest)
        for name in (names[id(v)],)
    }

    of = {id(owners[key]): name.rpartition(".")[0] for key, name in names.items()}
    epsilons: dict[str, float] = {}

    def note(norm: keras.Layer) -> None:
        if id(norm) in of:
            epsilons[of[id(norm)]] = float(norm.epsilon)

    def call(
        arrays: Arrays, args: Any, kwargs: Any, training: bool, drop: bool = False
    ) -> tuple[Any, Arrays]:
        def run(own: Any, moving: Any, args: Any, kwargs: Any) -> Any:
            switched = nullcontext() if drop else _no_dropout(model)
            held = [*zip(trained, own, strict=True), *zip(rest, moving, strict=True)]
            with noting(NORMS, "call", note), switched, keras.StatelessScope(held) as scope:
                # A model whose `call` takes no `training` hands it to its layers all the same.
                output = model(*args, training=training, **kwargs)
                return output, [scope.get_current_value(v) for v in rest]

        own, moving = ([arrays[names[id(v)]] for v in kind] for kind in (trained, rest))
        output, after = in_float64(run)(own, moving, args, kwargs)
        return output, {names[id(v)]: value for v, value in zip(rest, after, strict=True)}

    own = {names[id(v)]: v.path for v in (*trained, *rest)}
    drops = any(isinstance(part, keras.layers.Dropout) for part in model._flatten_layers())
    dropping = partial(call, drop=True) if drops else None
    return Port(held, known, own, call, dropping=dropping, epsilons=lambda: epsilons)


@contextmanager
def _no_dropout(model: keras.Model) -> Iterator[None]:
    parts = [part for part in model._flatten_layers() if isinstance(part, keras.layers.Dropout)]
    rates = [part.rate for part in parts]
    try:
        for part in parts:
            part.rate = 0
        yield
    finally:
        for part, rate in zip(parts, rates, strict=True):
            part.rate = rate


def _layout(layer: Any, held: Any) -> Axes:
    shape, leaf = tuple(held.shape), held.name
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum(layer, leaf, shape)
    if isinstance(layer, keras.layers.GRUCell | keras.layers.GRU) and leaf == "bias":
        return axes.flat(shape)  # those of the input, then those of the state
    if leaf == "depthwise_kernel" or (leaf == "kernel" and isinstance(layer, DEPTHWISE)):
        return axes.depthwise(shape)
    if not leaf.endswith("kernel") or len(shape) < 2:
        return axes.AS_IT_IS
    return axes.LINEAR if len(shape) == 2 else axes.conv(len(shape))


def _einsum(layer: keras.layers.EinsumDense, leaf: str, shape: tuple[int, ...]) -> Axes:
    """Return the layout of a projection into heads or from them, or of its bias."""
    if leaf == "bias":
        return axes.flat(shape)
    inputs, output = layer.equation.split("->")
    return axes.matrix(shape, sum(axis not in output for axis in inputs.split(",")[1]))
