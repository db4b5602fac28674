# pyright: reportUnknownMemberType=false
"""PyTorch as a contestant, eager and compiled.

This file alone of the benchmark touches PyTorch, torch_ref, torchvision and timm, and it imports
them when a contestant asks for it: the benchmark runs without them.
"""

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from flaxblocks.bench.sides.answers import step_answer
from flaxblocks.bench.sides.torch_step import role_gradient, training_step
from flaxblocks.bench.tasks.subjects import subject
from flaxblocks.bench.tasks.task import Data, Prepared, Task
from flaxblocks.models import model_info

if TYPE_CHECKING:
    import torch
    from torch import nn


def eager(task: Task, data: Data) -> Prepared:
    """Prepare a task with eager PyTorch, channels last."""
    return _prepare(task, data, lambda function: function)


def compiled(task: Task, data: Data) -> Prepared:
    """Prepare it with `torch.compile`."""
    import torch

    return _prepare(task, data, cast(Any, torch.compile))


def load(task: Task, data: Data) -> "tuple[nn.Module, torch.Tensor]":
    """Return the module with the weights, in the task's mode, and the input, NCHW.

    Both are in the task's dtype (in a whole training step the parameters are in float32), on its
    device, channels last.
    """
    import torch

    from torch_ref.harness.layout import from_nhwc
    from torch_ref.harness.passes import train_mode

    torch.set_num_threads(task.threads)
    if task.device == "gpu":
        torch.backends.cudnn.benchmark = True
        torch.cuda.empty_cache()  # of the task before
        torch.cuda.reset_peak_memory_stats()
        torch.set_float32_matmul_precision("high")  # as JAX does there
    dtype, device = getattr(torch, task.dtype), _device(task)
    module = _module(task)
    module.load_state_dict({name: torch.tensor(value) for name, value in data.weights.items()})
    kept = torch.float32 if task.mode == "step" else dtype
    module.to(device=device, dtype=kept, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if task.mode in ("train", "step"):
        train_mode(module)
    else:
        module.eval()
    x = from_nhwc(data.x, dtype).to(device=device, memory_format=torch.channels_last)
    return module, x


def _module(task: Task) -> "nn.Module":
    import torch_ref
    from torch_ref.harness.vendors import allocate, make_network

    what = subject(task.subject)
    if what.spec is not None:
        return what.spec.build(torch_ref)
    record = model_info(what.name)
    return allocate(make_network(record.source, record.name_at_source))


def _device(task: Task) -> "torch.device":
    import torch

    if task.device == "gpu" and not torch.cuda.is_available():
        raise RuntimeError("this PyTorch has no GPU")
    if task.device == "tpu":
        raise RuntimeError("PyTorch is not timed on TPU")
    return torch.device({"cpu": "cpu", "gpu": "cuda"}[task.device])


def _prepare(task: Task, data: Data, wrap: Callable[[Any], Any]) -> Prepared:
    import torch

    module, x = load(task, data)
    run = _step(task, data, module, x, wrap)

    def wait(result: torch.Tensor) -> torch.Tensor:
        if task.device == "gpu":
            torch.cuda.synchronize()
        return result

    started = perf_counter()
    result = wait(run())
    first = perf_counter() - started
    return Prepared(
        run=run,
        wait=wait,
        answer=_answer(task, data, module, x, result),
        compile_seconds=0.0 if wrap is not torch.compile else first,
        memory=torch.cuda.max_memory_allocated if task.device == "gpu" else None,
        kernels=lambda: _kernels(lambda: wait(run()), task.device),
    )


def _step(
    task: Task, data: Data, module: "nn.Module", x: "torch.Tensor", wrap: Callable[[Any], Any]
) -> "Callable[[], torch.Tensor]":
    if task.mode == "infer":
        return _inference(module, x, wrap)
    if task.mode == "train":
        return _training(task, data, module, x, wrap)
    if task.mode == "step":
        return training_step(task, data, module, x, wrap)
    return role_gradient(task, data, module, x)


def _kernels(run: Callable[[], Any], device: str) -> dict[str, float]:
    """Return the seconds that each kernel takes in one run, by name."""
    from torch.profiler import ProfilerActivity, profile

    activity = ProfilerActivity.CUDA if device == "gpu" else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        run()
    kind = "device" if device == "gpu" else "cpu"
    return {
        event.key: getattr(event, f"self_{kind}_time_total") / 1e6
        for event in cast("list[Any]", profiled.key_averages())
    }


def _inference(
    module: "nn.Module", x: "torch.Tensor", wrap: Callable[[Any], Any]
) -> "Callable[[], torch.Tensor]":
    import torch

    forward = wrap(module)

    def step() -> torch.Tensor:
        with torch.inference_mode():
            return forward(x)

    return step


def _training(
    task: Task, data: Data, module: "nn.Module", x: "torch.Tensor", wrap: Callable[[Any], Any]
) -> "Callable[[], torch.Tensor]":
    import torch

    from torch_ref.harness.layout import from_nhwc
    from torch_ref.harness.passes import half_mean_square

    target = from_nhwc(data.target, x.dtype).to(x.device)
    x.requires_grad_(not subject(task.subject).is_network)

    def loss_of(x: torch.Tensor) -> torch.Tensor:
        return half_mean_square(module(x), target)

    forward = wrap(loss_of)

    def step() -> torch.Tensor:
        module.zero_grad()
        x.grad = None
        loss = forward(x)
        loss.backward()
        return loss

    return step


def _answer(
    task: Task, data: Data, module: "nn.Module", x: "torch.Tensor", result: "torch.Tensor"
) -> dict[str, np.ndarray]:
    from torch_ref.harness.layout import to_nhwc

    if task.mode == "infer":
        return {"output": to_nhwc(_wide(result))}
    if task.mode == "step":
        new = {name: _wide(value).numpy() for name, value in module.state_dict().items()}
        return step_answer(task, data, _wide(result).numpy(), new)
    if task.mode != "train":
        array = _wide(result)
        return {"gradient": to_nhwc(array) if task.mode == "input" else array.numpy()}
    named = sorted(module.named_parameters())
    gradients = [_wide(parameter.grad).numpy().ravel() for _, parameter in named]
    answer = {"loss": to_nhwc(_wide(result)), "gradients": np.concatenate(gradients)}
    return answer if x.grad is None else answer | {"input gradient": to_nhwc(_wide(x.grad))}


def _wide(tensor: "torch.Tensor | None") -> "torch.Tensor":
    """Return a tensor on CPU whose dtype NumPy has."""
    import torch

    assert tensor is not None  # every parameter takes part
    tensor = tensor.detach().cpu()
    return tensor if tensor.dtype == torch.float64 else tensor.float()
