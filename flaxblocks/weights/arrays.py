"""Arrays of any library as NumPy's."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def to_numpy(value: Any) -> np.ndarray:
    """Return a NumPy, JAX or PyTorch array, or a tensor in a file, as a NumPy array.

    It may share memory with `value`.
    """
    if not hasattr(value, "detach"):
        return np.asarray(value)
    import torch  # the value is a tensor, so it is there

    tensor = value.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(jnp.bfloat16)
    return tensor.numpy()
