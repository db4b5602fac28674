"""Random weights and statistics for comparisons, by PyTorch's names and layout."""

from math import prod

import numpy as np


def random_tensor(
    name: str,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    *,
    gain: float = 1.0,
    scales: tuple[float, float] = (0.5, 2.5),
) -> np.ndarray:
    """Return random values for a tensor of a state dict: float32, or an integer for a counter.

    Statistics, scales and biases are far from the identity, so that leaving one out shows.

    Args:
        name: whose end says what the tensor is.
        shape: of the tensor.
        rng: where the values come from.
        gain: variance of a kernel's output over its input's.
        scales: least and greatest scale of a normalization; the default is wide enough that ReLU6
            and the hard activations meet both their bends.
    """
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.asarray(rng.integers(1, 100, shape))
    if leaf == "running_var":
        values = rng.uniform(0.5, 2.0, shape)
    elif len(shape) >= 2:
        values = rng.normal(0, np.sqrt(gain / max(1, prod(shape[1:]))), shape)
    elif leaf in (
        "weight",
        "scale",
    ):  # near zero, the one scale of a whole map would lose the image
        values = rng.uniform(*scales, shape)
    else:
        values = rng.normal(0, 0.5, shape)
    return np.asarray(values, np.float32)
