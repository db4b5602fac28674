# pyright: basic
"""A task's operations and bytes, the same for every contestant."""

from flax import nnx

from flaxblocks.bench.tasks.subjects import subject
from flaxblocks.bench.tasks.task import BYTES, Task
from flaxblocks.flops import contractions

FORWARD_PASSES = {"infer": 1, "train": 3, "step": 3, "input": 1, "kernel": 1}
"""A backward pass is two convolutions, each as large as the forward one."""


def cost_of(task: Task) -> tuple[int, int]:
    """Return a task's multiply-adds, and the bytes that it must read and write at least.

    Convolutions and matrix products count. Each reads its two operands once and writes its result
    once; what is done to single values, such as activations and normalizations, is taken to be
    done on the way.
    """
    what = subject(task.subject)
    module = what.abstract()
    module.eval()
    graphdef, state = nnx.split(module)
    found = contractions(
        lambda state, x: nnx.merge(graphdef, state)(x), state, what.input(task.batch, task.size)
    )
    passes = FORWARD_PASSES[task.mode]
    return (
        passes * sum(one.multiply_adds for one in found),
        passes * sum(one.numbers for one in found) * BYTES[task.dtype],
    )
