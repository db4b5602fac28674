"""Arrays of any library as NumPy's."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

SHOWN = 10  # of the names in an error


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


def check_readable(state_dict: Mapping[str, Any]) -> None:
    """Refuse what is no array, or one that NumPy cannot hold.

    Raises:
        ValueError: if there is such an entry; the message names the first ones, and what they are.
    """
    odd = [f"{name} ({kind})" for name, value in state_dict.items() if (kind := _odd(value))]
    if odd:
        raise ValueError(
            "`state_dict` must hold arrays that are stored densely only, nothing was loaded; got "
            f"{enumerated(odd)}"
        )


def enumerated(words: Sequence[str]) -> str:
    """Return the first words with commas, and how many more there are."""
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def _odd(value: Any) -> str | None:
    """Return what a value is that cannot be read as an array; None for one that can."""
    if not hasattr(value, "detach"):
        return None if hasattr(value, "shape") else type(value).__name__
    if value.is_quantized:
        return f"quantized, {value.dtype}"
    if str(value.layout) != "torch.strided":
        return str(value.layout)
    if value.device.type == "meta":
        return "on the meta device, without values"
    return (
        str(value.dtype) if "float8" in str(value.dtype) or "float4" in str(value.dtype) else None
    )
