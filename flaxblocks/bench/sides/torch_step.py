# pyright: reportUnknownMemberType=false
"""A network's whole training step with PyTorch, as people run it: under autocast."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flaxblocks.bench.tasks.task import SGD, Data, Task

if TYPE_CHECKING:
    import torch
    from torch import nn


def training_step(
    task: Task, data: Data, module: "nn.Module", x: "torch.Tensor", wrap: Callable[[Any], Any]
) -> "Callable[[], torch.Tensor]":
    """Return a function that trains the module by one step and returns the loss."""
    import torch

    labels = torch.tensor(data.target, dtype=torch.int64, device=x.device)
    dtype = getattr(torch, task.dtype)
    optimizer = torch.optim.SGD(
        module.parameters(),
        SGD["learning_rate"],
        momentum=SGD["momentum"],
        weight_decay=SGD["weight_decay"],
    )

    def loss_of(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, dtype, enabled=task.dtype != "float32"):
            return torch.nn.functional.cross_entropy(module(x).float(), labels)

    forward = wrap(loss_of)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = forward(x)
        loss.backward()
        optimizer.step()
        return loss

    return step


def role_gradient(
    task: Task, data: Data, module: "nn.Module", x: "torch.Tensor"
) -> "Callable[[], torch.Tensor]":
    """Return a function that returns one gradient of a convolution, as a backward pass takes it."""
    import torch

    from torch_ref.harness.layout import from_nhwc

    conv: Any = module
    g = from_nhwc(data.target, x.dtype).to(x.device, memory_format=torch.channels_last)
    wanted = [task.mode == "input", task.mode == "kernel", False]
    geometry = (conv.stride, conv.padding, conv.dilation, False, [0, 0], conv.groups)
    weight = conv.weight.detach()

    def gradient() -> torch.Tensor:
        found = torch.ops.aten.convolution_backward(g, x, weight, None, *geometry, wanted)
        return found[wanted.index(True)]

    return gradient
