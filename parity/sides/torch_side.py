# pyright: reportUnknownMemberType=false
"""Runs a PyTorch module and brings what it did into NumPy and NHWC."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from parity.sides.calls import Input, inputs_of, next_call, outputs_of
from parity.sides.frame import Frame
from parity.sides.kinks import Kink, Kinks
from parity.sides.weights import BATCH_NORM
from torch_ref.harness.exact_gradients import ExactGradients
from torch_ref.harness.layout import to_nhwc
from torch_ref.harness.no_dropout import NoDropout
from torch_ref.harness.passes import dtype_of, half_mean_square, modules_of, state_of, train_mode

NORMS = (BATCH_NORM, nn.GroupNorm, nn.LayerNorm)


@dataclass
class TorchRun:
    """What one run of a PyTorch module produced."""

    # each module's output by its path, NHWC, in the order they were computed; the whole module's is
    # under ``""``, its further ones are under their names. A norm's is what it hands to its
    # `children_after`.
    outputs: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    # each module's first input by its path, NHWC
    inputs: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    loss: float = 0.0  # the loss of a train-mode step
    # the gradient of each parameter by name, in PyTorch's layout, and those of the inputs, NHWC,
    # the first under ``"input"``
    gradients: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    # parameters and buffers after the run, in PyTorch's layout
    state: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    # of a train-mode step: the activations with kinks
    kinks: list[Kink] = field(default_factory=list[Kink])


def features_of(module: nn.Module) -> tuple[int | None, int | None]:
    """Return how many features the module takes and gives, None where its tensors do not say."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    weight = getattr(module, "weight", None)
    features = len(weight) if isinstance(weight, nn.Parameter) and weight.ndim == 1 else None
    return features, features


def output_shape(module: nn.Module, x: Input) -> tuple[int, ...]:
    """Return the shape of the first output of a module on the meta device, NHWC as the input's."""
    with torch.device("meta"):
        args, kwargs = Frame.of(module, x).tensors(x, dtype_of(module))
    output = outputs_of(module(*args, **kwargs))[""]
    return Frame().output("", torch.empty_like(output, device="cpu")).shape


def forward(module: nn.Module, x: Input, dtype: str, frame: Frame) -> TorchRun:
    """Run the module in eval mode."""
    run = TorchRun()
    module.eval()
    args, kwargs = frame.tensors(x, getattr(torch, dtype))
    with torch.no_grad(), _recording(module, run), ExactGradients():
        results = outputs_of(module(*args, **kwargs))
    _keep_results(run, results, frame)
    return run


def train_step(
    module: nn.Module, x: Input, target: Mapping[str, np.ndarray], dtype: str, frame: Frame
) -> TorchRun:
    """Run the module forward and backward in train mode; the parameters stay, the state moves.

    The loss is that of `loss_of`.
    """
    run = TorchRun()
    train_mode(module)
    module.zero_grad()
    args, kwargs = frame.tensors(x, getattr(torch, dtype))
    given = {n: t for n, t in inputs_of(kwargs or args).items() if t.is_floating_point()}
    for tensor in given.values():
        tensor.requires_grad_()
    with _recording(module, run) as paths, ExactGradients(), NoDropout(), Kinks(paths) as kinks:
        results = outputs_of(module(*args, **kwargs))
    loss = loss_of(results, target, frame)
    loss.backward()
    run.kinks = kinks.found
    _keep_results(run, results, frame)
    run.loss = loss.item()
    run.gradients = {
        name: np.zeros(tuple(p.shape)) if p.grad is None else p.grad.detach().cpu().numpy().copy()
        for name, p in module.named_parameters(remove_duplicate=False)
    }
    for name, tensor in given.items():
        gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        run.gradients[name] = frame.input(name, gradient)
    run.state = state_of(module)
    return run


def loss_of(
    results: Mapping[str, torch.Tensor], target: Mapping[str, np.ndarray], frame: Frame
) -> torch.Tensor:
    """Return half the mean square of ``output - target``, summed over the outputs."""
    losses = [
        half_mean_square(results[name], frame.target(name, array, results[name].dtype))
        for name, array in target.items()
    ]
    return torch.stack(losses).sum()


def _keep_results(run: TorchRun, results: Mapping[str, torch.Tensor], frame: Frame) -> None:
    for name, tensor in sorted(results.items(), key=lambda item: item[0] == ""):
        run.outputs.pop(name, None)  # the module itself comes last
        run.outputs[name] = frame.output(name, tensor)


def children_after(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the children, by name, to which a norm hands what it computed.

    PyTorch's own norms have none; timm's drop units and apply the activation.
    """
    return list(module.named_children()) if isinstance(module, NORMS) else []


class _recording:
    """While open, every module's input and output is copied into the run.

    It gives the paths of each output by the tensor's `id`.
    """

    def __init__(self, module: nn.Module, run: TorchRun):
        self.handles: list[RemovableHandle] = []
        self.alive: list[object] = []  # so that no two outputs have the same id
        self.paths: dict[int, list[str]] = {}
        for path, part in modules_of(module).items():
            taken, given = features_of(part)
            self.handles.append(part.register_forward_pre_hook(self._keep(run.inputs, path, taken)))
            keep_output = self._keep(run.outputs, path, given, note=True)
            if after := children_after(part):
                _, first = after[0]
                self.handles.append(first.register_forward_pre_hook(keep_output))
            else:
                self.handles.append(part.register_forward_hook(keep_output))

    def __enter__(self) -> dict[int, list[str]]:
        """Return the paths, which grow as the module runs."""
        return self.paths

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _keep(
        self, store: dict[str, np.ndarray], path: str, features: int | None, note: bool = False
    ) -> Callable[..., None]:
        def hook(_module: nn.Module, *tensors: object) -> None:
            several = tensors[-1]
            value = several
            if isinstance(several, tuple) and several:
                value = cast(tuple[object, ...], several)[0]
            if isinstance(value, torch.Tensor):
                call = next_call(store, path)
                store[call] = to_nhwc(value, features)
                if note:
                    self.alive.append(value)
                    self.paths.setdefault(id(value), []).append(call)

        return hook
