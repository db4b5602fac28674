"""A described network in Flax, written otherwise than in PyTorch, with or without a fault."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tests.helpers.random_nets.description import Net, Step
from tests.helpers.random_nets.flax_layers import LAYERS, dropout
from tests.helpers.user_faults import aligned

Writings = tuple[Callable[[Any], Any], ...]
ACTS: dict[str, Writings] = {
    "relu": (nnx.relu, lambda x: jnp.maximum(x, 0), lambda x: x * (x > 0)),
    "gelu": (
        lambda x: nnx.gelu(x, approximate=False),
        lambda x: x * (1 + jax.lax.erf(x * 0.5**0.5)) / 2,
    ),
    "silu": (nnx.silu, lambda x: x / (1 + jnp.exp(-x))),
    "relu6": (nnx.relu6, lambda x: jnp.clip(x, 0, 6)),
    "hardswish": (nnx.hard_swish, lambda x: x * jnp.clip(x + 3, 0, 6) / 6),
    "hardsigmoid": (nnx.hard_sigmoid, lambda x: jnp.clip(x / 6 + 0.5, 0, 1)),
    "leaky_relu": (
        lambda x: nnx.leaky_relu(x, 0.1),
        lambda x: jnp.where(x >= 0, x, 0.1 * x),
    ),
    "sigmoid": (nnx.sigmoid, lambda x: 1 / (1 + jnp.exp(-x))),
}
FAULTY_ACTS: dict[str, Callable[[Any], Any]] = {
    "no activation": lambda x: x,
    "silu": nnx.silu,
    "tanh gelu": nnx.gelu,
    "Keras's hard_swish": lambda x: x * jnp.clip(0.2 * x + 0.5, 0, 1),
    "Keras's hard_sigmoid": lambda x: jnp.clip(0.2 * x + 0.5, 0, 1),
    "slope": lambda x: nnx.leaky_relu(x, 0.3),
}


class Port(nnx.Module):
    """Steps in order: with all layers side by side, or each composite as a module of its own.

    Args:
        steps: what is done.
        flat: whether the layers stand side by side.
        faults: the fault of each step that has one, by its name.
        rngs: random streams.
    """

    def __init__(
        self, steps: tuple[Step, ...], flat: bool, faults: Mapping[str, str], rngs: nnx.Rngs
    ):
        self.steps, self.flat, self.faults = nnx.static(steps), flat, nnx.static(dict(faults))
        self._make(steps, rngs)

    def _make(self, steps: tuple[Step, ...], rngs: nnx.Rngs) -> None:
        for step in steps:
            if step.kind in LAYERS:
                setattr(self, step.name, LAYERS[step.kind](step, self.fault(step), rngs))
            if step.options.get("scaled"):
                scale = nnx.Param(jnp.ones(step.options["features"]))
                setattr(self, f"{step.name}_scale", scale)
            if step.children and self.flat:
                self._make(step.children, rngs)
            elif step.children:
                setattr(self, step.name, Port(step.children, False, self.faults, rngs))

    def fault(self, step: Step) -> str:
        return self.faults.get(step.name, "").partition(":")[0]

    def __call__(self, x):
        return self.run(self.steps, x)

    def run(self, steps: tuple[Step, ...], x: Any) -> Any:
        for step in steps:
            fault = self.faults.get(step.name, "")
            if fault.startswith("exchanged:"):
                x = getattr(self, fault.partition(":")[2])(x)
            elif step.kind in LAYERS:
                x = getattr(self, step.name)(x)
            else:
                x = RUNS[step.kind](self, step, fault, x)
        return x

    def inside(self, step: Step, x: Any) -> Any:
        return self.run(step.children, x) if self.flat else getattr(self, step.name)(x)


def build(net: Net, faults: Mapping[str, str] | None = None) -> Port:
    """Return the port, with these faults."""
    faults = faults or {}
    port = nnx.eval_shape(lambda: Port(net.steps, net.flat, faults, nnx.Rngs(0)))
    for step in net.steps:
        if step.kind == "dropout":  # whose random numbers have values
            setattr(port, step.name, dropout(step, port.fault(step), nnx.Rngs(0)))
    return port


def names(net: Net, theirs: Mapping[str, str]) -> dict[str, str]:
    """Return the port's name of each of PyTorch's layers and scales.

    Args:
        net: the network.
        theirs: PyTorch's path of each step.
    """
    found: dict[str, str] = {}

    def add(steps: tuple[Step, ...], prefix: str) -> None:
        for step in steps:
            if step.kind in LAYERS and step.kind != "dropout":
                found[theirs[step.name]] = prefix + step.name
            if step.options.get("scaled"):
                found[f"{theirs[step.name]}.gamma"] = f"{prefix}{step.name}_scale"
            add(step.children, prefix if net.flat else f"{prefix}{step.name}.")

    add(net.steps, "")
    return found


def _act(port: Port, step: Step, fault: str, x: Any) -> Any:
    if fault:
        return FAULTY_ACTS[fault](x)
    writings = ACTS[step.options["function"]]
    return writings[step.variant % len(writings)](x)


def _unit(port: Port, step: Step, fault: str, x: Any) -> Any:
    if fault != "activation first":
        return port.inside(step, x)
    conv, norm, act = step.children
    inner = port if port.flat else getattr(port, step.name)
    return inner.run((conv, act, norm), x)


def _residual(port: Port, step: Step, fault: str, x: Any) -> Any:
    y = port.inside(step, x)
    if step.options["scaled"] and fault != "no scale":
        y = y * getattr(port, f"{step.name}_scale")[...]
    if fault == "no residual":
        return y
    return x + y if step.variant % 2 else y + x


def _gate(port: Port, step: Step, fault: str, x: Any) -> Any:
    gate = port.inside(step, x.mean((1, 2), keepdims=True))
    return x if fault == "no gate" else x * gate


def _joined(port: Port, step: Step, fault: str, x: Any) -> Any:
    return jnp.concatenate([x, port.inside(step, x)], -1)


def _window(step: Step) -> tuple[Any, ...]:
    return (3, 3), (step.options["stride"],) * 2, ((1, 1), (1, 1))


def _max_pool(port: Port, step: Step, fault: str, x: Any) -> Any:
    if fault == "average":
        return nnx.avg_pool(x, *_window(step))
    if fault == "zeros" or step.variant % 2:
        low = 0 if fault == "zeros" else -jnp.inf
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=low)
        return nnx.max_pool(x, (3, 3), _window(step)[1], "VALID")
    return nnx.max_pool(x, *_window(step))


def _avg_pool(port: Port, step: Step, fault: str, x: Any) -> Any:
    if fault == "maximum":
        return nnx.max_pool(x, *_window(step))
    counts = step.options["counts"] is not (fault == "counting")
    return nnx.avg_pool(x, *_window(step), count_include_pad=counts)


def _resize(port: Port, step: Step, fault: str, x: Any) -> Any:
    mode, size = step.options["mode"], step.options["size"]
    if fault == "aligned":
        return aligned(x, size)
    if fault == "other mode":
        mode = "nearest" if mode != "nearest" else "bilinear"
    method = "nearest" if mode == "nearest" else "bilinear"
    shape = (x.shape[0], *size, x.shape[-1])
    smooth = (mode == "antialias") is not (fault == "antialiasing")
    return jax.image.resize(x, shape, method, antialias=smooth)


def _average(port: Port, step: Step, fault: str, x: Any) -> Any:
    if fault == "maximum":
        return x.max((1, 2))
    return x.mean((1, 2)) if step.variant % 2 else x.sum((1, 2)) / (x.shape[1] * x.shape[2])


def _flatten(port: Port, step: Step, fault: str, x: Any) -> Any:
    return (x if fault else x.transpose(0, 3, 1, 2)).reshape(x.shape[0], -1)


RUNS: dict[str, Callable[[Port, Step, str, Any], Any]] = {
    "act": _act,
    "unit": _unit,
    "residual": _residual,
    "gate": _gate,
    "joined": _joined,
    "shift": lambda port, step, fault, x: x - step.options["by"],
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "resize": _resize,
    "average": _average,
    "flatten": _flatten,
    "tokens": lambda port, step, fault, x: x.reshape(x.shape[0], -1, x.shape[-1]),
    "token_mean": lambda port, step, fault, x: x.mean(1),
}
