# pyright: basic
"""Random weights and inputs for a task, the same for every contestant."""

import numpy as np
from flax import nnx

from flaxblocks._base.random_weights import random_tensor
from flaxblocks.bench.tasks.subjects import subject
from flaxblocks.bench.tasks.task import Data, Task
from flaxblocks.weights.state_dict import named_entries


def draw(task: Task) -> Data:
    """Return weights, input and target.

    Kernels and scales keep the size of what passes through, so that nothing overflows in half
    precision or gets so small that the processor slows down. With a gain of 2 the residuals of
    EfficientNetV2-S add up to 1e4, its gates become steps, and no two float32 answers agree; with
    1 MobileNetV3 forgets the image.
    """
    rng = np.random.default_rng(0)
    what = subject(task.subject)
    module = what.abstract()
    module.eval()
    x = what.input(task.batch, task.size)
    output = nnx.eval_shape(lambda module, x: module(x), module, x)
    images = rng.standard_normal(x.shape, np.float32)
    if task.mode == "step":
        target = rng.integers(0, output.shape[-1], task.batch, np.int32)
    else:
        target = rng.standard_normal(output.shape, np.float32)
    return Data(
        weights={
            name: random_tensor(name, tuple(entry.shape), rng, gain=1.4, scales=(0.7, 1.3))
            for name, entry in named_entries(module, what.names).items()
        },
        names=what.names,
        x=images,
        target=target,
    )
