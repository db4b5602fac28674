# pyright: basic
"""flaxblocks as a contestant: as it comes, with all native kernels, with none, and plain."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flaxblocks._base.functional import loss_and_gradients
from flaxblocks.bench.sides.jax_device import kernels_of, peak_memory
from flaxblocks.bench.sides.jax_step import training_step
from flaxblocks.bench.tasks.subjects import Subject, subject
from flaxblocks.bench.tasks.task import Data, Prepared, Task
from flaxblocks.inference import for_inference
from flaxblocks.ops import convolution
from flaxblocks.weights import load_state_dict, state_dict
from flaxblocks.weights.state_dict import named_entries

Step = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function of arrays, and the arrays."""


def fast(task: Task, data: Data) -> Prepared:
    """Prepare a task with flaxblocks."""
    return _prepare(task, data, "default")


def native(task: Task, data: Data) -> Prepared:
    """Prepare it with a native kernel wherever there is one."""
    return _prepare(task, data, "native")


def without(task: Task, data: Data) -> Prepared:
    """Prepare it without native kernels."""
    return _prepare(task, data, "xla")


def plain(task: Task, data: Data) -> Prepared:
    """Prepare the same modules with `jax.lax.conv_general_dilated` for each convolution."""
    return _prepare(task, data, "lax")


def _prepare(task: Task, data: Data, implementation: str) -> Prepared:
    device = use_device(task)
    with jax.default_device(device), convolution(implementation):
        if task.mode == "step":
            return training_step(task, data)
        what = subject(task.subject)
        module = what.abstract()
        load_state_dict(module, data.weights, data.names, dtype=jnp.dtype(task.dtype))
        x, target = (jnp.asarray(array, task.dtype) for array in (data.x, data.target))
        if task.mode == "infer":
            module = module if implementation == "lax" else for_inference(module)
            function, arguments = inference(module, x)
        elif task.mode == "train":
            function, arguments = training(module, x, target, what)
        else:
            function, arguments = gradient(module, x, target, task.mode)
        started = perf_counter()
        compiled = jax.jit(function).lower(*arguments).compile()
        compile_seconds = perf_counter() - started
        result = jax.block_until_ready(compiled(*arguments))
    return Prepared(
        run=lambda: compiled(*arguments),
        wait=jax.block_until_ready,
        answer=_answer(task, module, data.names, result),
        compile_seconds=compile_seconds,
        memory=None if task.device == "cpu" else lambda: peak_memory(compiled),
        kernels=lambda: kernels_of(lambda: compiled(*arguments)),
    )


def use_device(task: Task) -> Any:
    """Return the device to run on, JAX being told before it starts.

    Raises:
        RuntimeError: if there is none of that kind.
    """
    if task.device == "cpu":
        jax.config.update("jax_platforms", "cpu")  # a GPU would be reserved for nothing
    jax.config.update("jax_enable_x64", task.dtype == "float64")
    return jax.devices(task.device)[0]


def inference(module: nnx.Module, x: jax.Array) -> Step:
    """Return the forward pass in eval mode, to be compiled with its weights as people do."""
    module.eval()
    return module, (x,)


def training(module: nnx.Module, x: jax.Array, target: jax.Array, what: Subject) -> Step:
    """Return a training step as `Task` describes it: loss, statistics, gradients."""
    module.train()
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    leaves, tree = jax.tree.flatten((params, rest))
    wrt = (0,) if what.is_network else (0, 1)

    def step(leaves: list[jax.Array], x: jax.Array, target: jax.Array):
        params, rest = jax.tree.unflatten(tree, leaves)
        loss, statistics, (gradients, *by_input), _ = loss_and_gradients(
            graphdef, params, rest, x, target, wrt=wrt
        )
        return loss, jax.tree.leaves(statistics), jax.tree.leaves(gradients), by_input

    return step, (leaves, x, target)


def gradient(module: nnx.Module, x: jax.Array, g: jax.Array, role: str) -> Step:
    """Return the gradient of a convolution with respect to its ``"input"`` or ``"kernel"``."""
    graphdef, params = nnx.split(module, nnx.Param)

    def step(params: Any, x: jax.Array, g: jax.Array) -> jax.Array:
        def convolve(params: Any, x: jax.Array) -> jax.Array:
            return nnx.merge(graphdef, params)(x)

        by_params, by_input = jax.vjp(convolve, params, x)[1](g)
        return by_input if role == "input" else by_params["kernel"][...].transpose(3, 2, 0, 1)

    return step, (params, x, g)


def _answer(task: Task, module: nnx.Module, names: str, result: Any) -> dict[str, np.ndarray]:
    if task.mode == "infer":
        return {"output": _wide(result)}
    if task.mode != "train":
        return {"gradient": _wide(result)}
    loss, _, gradients, by_input = result
    nnx.update(
        module, jax.tree.unflatten(jax.tree.structure(nnx.state(module, nnx.Param)), gradients)
    )
    entries = named_entries(module, names)
    named = state_dict(module, names)
    params = sorted(name for name in named if isinstance(entries[name].variable, nnx.Param))
    answer = {
        "loss": _wide(loss),
        "gradients": np.concatenate([_wide(named[name]).ravel() for name in params]),
    }
    return answer | dict(zip(("input gradient",), map(_wide, by_input), strict=False))


def _wide(array: Any) -> np.ndarray:
    array = np.asarray(array)
    return array if array.dtype == np.float64 else array.astype(np.float32)
