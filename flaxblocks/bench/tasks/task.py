"""A task, its data, and what a contestant prepares for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MODES = ("infer", "train", "step", "input", "kernel")
"""What can be done with a module, see `Task`."""

SGD = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
"""The optimizer of mode ``"step"``."""

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""Of a number of each dtype that a task may have."""


@dataclass(frozen=True)
class Task:
    """A module, a mode, and the shape of its input."""

    subject: str  # the module's name, see `flaxblocks.bench.tasks.subjects`
    # ``"infer"``, a forward pass in eval mode; or ``"train"``, a forward and a backward pass in
    # train mode, of half the mean square of ``output - target``, which gives the loss, the new
    # statistics, the gradients of all parameters and, where the module is not a whole network, of
    # the input. No optimizer's update. Or ``"step"``, all of a network's training step as people
    # run it: cross-entropy, gradients, an update by `SGD`; parameters in float32, computation in
    # `dtype`. Or, of a single convolution, the gradient of its ``"input"`` or ``"kernel"`` alone.
    mode: str
    batch: int  # images
    size: int  # height and width of the input in pixels
    dtype: str  # of parameters, input and computation, see `mode`
    device: str  # ``"cpu"``, ``"gpu"`` or ``"tpu"``
    threads: int  # of each contestant on CPU
    # whether each contestant's process does what the function of that name does
    keep_freed_memory: bool = False

    def __str__(self) -> str:
        """Return the task as a short label."""
        return f"{self.subject}, {self.mode}, batch {self.batch}, {self.size} pixels"


@dataclass(frozen=True)
class Data:
    """The weights, input and target of a task, the same for all contestants."""

    weights: Mapping[str, np.ndarray]  # the state dict, in PyTorch's layout, float32
    names: str  # whose names it uses
    x: np.ndarray  # the input, NHWC, float32
    # what training compares the output with, or the gradient with respect to it, of the output's
    # shape, float32; in mode ``"step"`` the labels ``(n,)``, int32
    target: np.ndarray


@dataclass(frozen=True)
class Prepared:
    """What a contestant prepared, ready to be timed."""

    # does the task once; on an accelerator it only starts it, and `wait` returns when what `run`
    # returned is there
    run: Callable[[], object]
    # what the task gives, in float32 or float64, NHWC: ``output``; or ``loss``, ``gradients`` (all
    # parameters' in one array, in PyTorch's layout and the order of their sorted names), ``input
    # gradient``; see `step_answer`; or ``gradient``
    answer: Mapping[str, np.ndarray]
    compile_seconds: float = 0.0  # what the compilation ahead took; 0 where nothing is compiled
    # returns the peak of the device's own memory in bytes; None on CPU
    memory: Callable[[], int] | None = None
    wait: Callable[[Any], object] = lambda result: result
    # returns the seconds that each of the device's kernels takes in one run, by name
    kernels: Callable[[], Mapping[str, float]] | None = None


Prepare = Callable[[Task, Data], Prepared]
"""What a contestant is: a function that gets ready for a task."""
