"""Arrays of any library as NumPy's."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

SHOWN = 10  # of the names in an error
NO_NUMBERS = "OSUMmc"  # kinds of NumPy's: objects, texts, dates; and complex numbers
LONGEST = 100  # of the letters of one


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
    odd = [f"{shown(name)} ({kind})" for name, value in state_dict.items() if (kind := _odd(value))]
    if odd:
        raise ValueError(
            "`state_dict` must hold arrays that are stored densely only, nothing was loaded; got "
            f"{enumerated(odd)}"
        )


def enumerated(words: Sequence[str]) -> str:
    """Return the first words with commas, and how many more there are."""
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(map(shown, words[:SHOWN])) + more


def shown(word: str, most: int = LONGEST) -> str:
    """Return a word of a file as an error can hold it: printable, and not without end."""
    word = word if word.isprintable() else ascii(word)
    return word if len(word) <= most else f"{word[:most]}..."


def _odd(value: Any) -> str | None:
    """Return what a value is that cannot be read as an array; None for one that can."""
    if not hasattr(value, "shape"):
        return type(value).__name__
    if not hasattr(value, "detach"):
        kind = getattr(getattr(value, "dtype", None), "kind", "f")
        return str(value.dtype) if kind in NO_NUMBERS else None
    if value.is_quantized:
        return f"quantized, {value.dtype}"
    if str(value.layout) != "torch.strided":
        return str(value.layout)
    if value.device.type == "meta":
        return "on the meta device, without values"
    strange = ("float8", "float4", "complex")
    return str(value.dtype) if any(kind in str(value.dtype) for kind in strange) else None
