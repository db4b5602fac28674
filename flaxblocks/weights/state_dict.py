"""State dicts: a module's weights under PyTorch's names and in PyTorch's layout."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flaxblocks.weights.entries import COUNTER, Entry, entries
from flaxblocks.weights.naming import vendor_entries
from flaxblocks.weights.torchvision import TORCHVISION

NAMES: dict[str, Callable[[nnx.Module], dict[str, Entry]]] = {
    "native": entries,
    "torchvision": partial(vendor_entries, TORCHVISION),
}
"""Whose parameter names a state dict uses, and how a module's entries get them."""


def state_dict(
    module: nnx.Module, names: str = "native", *, dtype: jnp.dtype | type | None = None
) -> dict[str, np.ndarray]:
    """Return the module's parameters and statistics as PyTorch would.

    >>> weights = fb.state_dict(fb.Conv(3, 8, 3, rngs=nnx.Rngs(0)))
    >>> {name: array.shape for name, array in weights.items()}
    {'weight': (8, 3, 3, 3), 'bias': (8,)}

    Args:
        module: any NNX module.
        names: whose parameter names to use: ``"native"``, those of flaxblocks and torch_ref, or
            ``"torchvision"``.
        dtype: dtype of the floating point arrays; each keeps its own where absent.

    Returns:
        Arrays by name, in PyTorch's layout; copies that share nothing with the module.

    Raises:
        ValueError: if `names` is unknown, or has none for this kind of module.
    """
    return {name: _exported(entry, dtype) for name, entry in _entries(module, names).items()}


def load_state_dict(
    module: nnx.Module,
    state_dict: Mapping[str, Any],
    names: str = "native",
    *,
    dtype: jnp.dtype | type | None = None,
) -> None:
    """Load PyTorch weights into the module, in place: all of them or none.

    >>> conv, twin = (fb.Conv(3, 8, 3, rngs=nnx.Rngs(seed)) for seed in (0, 1))
    >>> fb.load_state_dict(twin, fb.state_dict(conv))
    >>> bool((conv.kernel[...] == twin.kernel[...]).all())
    True

    Args:
        module: the module that receives them; may be abstract (`nnx.eval_shape`).
        state_dict: arrays by name, in PyTorch's layout: NumPy, JAX or PyTorch.
        names: whose parameter names it uses, see `state_dict`.
        dtype: dtype that the floating point variables get; each keeps its own where absent, as
            in PyTorch. A checkpoint from before PyTorch counted batches has no
            ``num_batches_tracked`` at all; the counters are then 0.

    Raises:
        ValueError: if `names` is unknown, or the state dict does not fit. The one message lists
            every missing, unexpected and misshapen entry, and the module is unchanged.
    """
    wanted = _entries(module, names)
    given = {name: _numpy(value) for name, value in state_dict.items()}
    if not any(name.endswith(COUNTER) for name in given):
        counters = [name for name in wanted if name.endswith(COUNTER)]
        given |= {name: np.zeros((), np.int64) for name in counters}
    problems = _problems(wanted, given)
    if problems:
        raise ValueError(
            f"`state_dict` does not fit {type(module).__name__}, nothing was loaded:\n  "
            + "\n  ".join(problems)
        )
    loaded = [
        (entry.variable, _imported(entry.variable, entry.layout.from_torch(given[name]), dtype))
        for name, entry in wanted.items()
        if entry.variable is not None
    ]
    for variable, value in loaded:
        variable.set_value(value)


def _entries(module: nnx.Module, names: str) -> dict[str, Entry]:
    if names not in NAMES:
        raise ValueError(f"`names` must be one of {sorted(NAMES)}, got {names!r}")
    return NAMES[names](module)


def _problems(wanted: dict[str, Entry], given: dict[str, np.ndarray]) -> list[str]:
    missing = [f"missing {n}, shape {e.shape}" for n, e in wanted.items() if n not in given]
    unexpected = [f"unexpected {n}, shape {a.shape}" for n, a in given.items() if n not in wanted]
    misshapen = [
        f"misshapen {n}: {given[n].shape} given, {e.shape} needed"
        for n, e in wanted.items()
        if n in given and given[n].shape != e.shape
    ]
    return missing + unexpected + misshapen


def _exported(entry: Entry, dtype: Any) -> np.ndarray:
    if entry.variable is None:
        return np.zeros((), np.int64)
    array = np.asarray(entry.variable.get_value())
    if jnp.issubdtype(array.dtype, jnp.integer):
        return entry.layout.to_torch(array).astype(np.int64)  # as PyTorch's counters are
    return np.array(entry.layout.to_torch(array), dtype or array.dtype, order="C")


def _imported(variable: nnx.Variable, array: np.ndarray, dtype: Any) -> jax.Array:
    old = variable.get_value()
    changes = dtype is not None and jnp.issubdtype(old.dtype, jnp.floating)
    # A private copy: JAX may alias a NumPy array on CPU, and PyTorch updates buffers in place.
    new = jnp.asarray(np.array(array, dtype if changes else old.dtype, order="C"))
    return jax.device_put(new, old.sharding) if isinstance(old, jax.Array) else new


def _numpy(value: Any) -> np.ndarray:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    import torch  # the value is a tensor, so it is there

    tensor = value.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(jnp.bfloat16)
    return tensor.numpy()
