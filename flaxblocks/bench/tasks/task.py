"""A task, its data, and what a contestant prepares for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""Of a number of each dtype that a task may have."""


@dataclass(frozen=True)
class Task:
    """A module, a mode, and the shape of its input."""

    subject: str  # the module's name, see `flaxblocks.bench.tasks.subjects`
    # ``"infer"``, a forward pass in eval mode; or ``"train"``, a forward and a backward pass in
    # train mode, of half the mean square of ``output - target``, which gives the loss, the new
    # statistics, the gradients of all parameters and, where the module is not a whole network, of
    # the input. No optimizer's update.
    mode: str
    batch: int  # images
    size: int  # height and width of the input in pixels
    dtype: str  # of parameters, input and computation
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
    target: np.ndarray  # what training compares the output with, of the output's shape, float32


@dataclass(frozen=True)
class Prepared:
    """What a contestant prepared, ready to be timed."""

    run: Callable[[], object]  # does the task once and returns when it is done
    # what the task gives, in float32 or float64, NHWC: ``output``; or ``loss``, ``gradients`` (all
    # parameters' in one array, in PyTorch's layout and the order of their sorted names), ``input
    # gradient``
    answer: Mapping[str, np.ndarray]
    compile_seconds: float = 0.0  # what the compilation ahead took; 0 where nothing is compiled
    # returns the peak of the device's own memory in bytes; None on CPU
    memory: Callable[[], int] | None = None


Prepare = Callable[[Task, Data], Prepared]
"""What a contestant is: a function that gets ready for a task."""
