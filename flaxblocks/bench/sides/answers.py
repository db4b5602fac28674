"""Comparison of the contestants' outputs, before any time counts."""

from collections.abc import Mapping

import numpy as np

from flaxblocks.bench.tasks.task import Data, Task

LIMITS = {
    # float32 rounds at 6e-8 and a network has some hundred sums in a row, some of differences
    "float32": 1e-3,
    "float64": 1e-10,
    # they round at 1e-3 and 8e-3
    "float16": 2e-2,
    "bfloat16": 1e-1,
}
"""How far an answer may be from ours, as a fraction of its root mean square."""

KINKS = 5e-3
"""The same for a training step in float32: where a unit rounds to the other side of ReLU's kink its
gradient jumps. Of 8 million in a ResNet bottleneck 4 do, and PyTorch's own gradients are then 2e-3
from those that it computes in float64."""

TENSOR_CORES = 2e-2
"""The same for float32 on a GPU or TPU, where the factors of products round at 1e-3 or 8e-3."""

STEP = 0.2
"""The same for the loss and the size of the update of a whole training step in half precision."""


def limit(task: Task) -> float:
    """Return the largest allowed difference between an output and ours."""
    if task.mode == "step" and task.dtype in ("bfloat16", "float16"):
        return STEP
    if task.device != "cpu" and task.dtype == "float32":
        return TENSOR_CORES
    if task.mode in ("train", "step") and task.dtype == "float32":
        return KINKS
    return LIMITS[task.dtype]


def difference(theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]) -> float:
    """Return the root mean square of the difference, as a fraction of that of our own answer.

    Where there are several arrays it is the largest of theirs; a missing one, a wrong shape or a
    number that is none counts as infinitely far.
    """
    if theirs.keys() != ours.keys():
        return np.inf
    return max(_difference(theirs[name], array) for name, array in ours.items())


def _difference(theirs: np.ndarray, ours: np.ndarray) -> float:
    if theirs.shape != ours.shape or not np.isfinite(theirs).all() or not np.isfinite(ours).all():
        return np.inf
    ours = ours.astype(np.float64)
    return float(np.linalg.norm(theirs - ours) / max(np.linalg.norm(ours), 1e-300))


def step_answer(
    task: Task, data: Data, loss: np.ndarray, new: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the answer of a whole training step.

    In half precision it holds the size of the update in place of the update: of ResNet-50 that of
    PyTorch in bfloat16 is further from that in float32 than it is large.

    Args:
        task: the task.
        data: the weights before the step.
        loss: the loss before the step.
        new: the weights after it, in PyTorch's layout.
    """
    update = np.concatenate(
        [
            (np.asarray(new[name], np.float32) - value).ravel()
            for name, value in sorted(data.weights.items())
            if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        ]
    )
    if task.dtype in ("bfloat16", "float16"):
        return {"loss": loss, "size of the update": np.asarray(np.linalg.norm(update))}
    return {"loss": loss, "update": update}
