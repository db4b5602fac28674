# pyright: reportUnknownMemberType=false
"""State dicts: a module's weights under PyTorch's names and in PyTorch's layout."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flaxblocks.models import Backbone
from flaxblocks.weights.adapt import adapt_rgb, keep_head
from flaxblocks.weights.arrays import check_readable, enumerated, to_numpy
from flaxblocks.weights.entries import COUNTER, Entry, entries
from flaxblocks.weights.misfit import misfit
from flaxblocks.weights.naming import vendor_entries
from flaxblocks.weights.prefixes import without_prefixes
from flaxblocks.weights.timm import TIMM
from flaxblocks.weights.torchvision import TORCHVISION
from flaxblocks.weights.torchvision_inception import INCEPTION
from flaxblocks.weights.torchvision_plain import PLAIN
from flaxblocks.weights.torchvision_segmentation import SEGMENTATION

NAMES: dict[str, Callable[[nnx.Module], dict[str, Entry]]] = {
    "native": entries,
    "torchvision": partial(vendor_entries, {**TORCHVISION, **PLAIN, **INCEPTION, **SEGMENTATION}),
    "timm": partial(vendor_entries, TIMM),
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
        names: whose parameter names to use: ``"native"``, those of flaxblocks and torch_ref,
            ``"torchvision"`` or ``"timm"``.
        dtype: dtype of the floating point arrays; each keeps its own where absent.

    Returns:
        Arrays by name, in PyTorch's layout; copies that share nothing with the module.

    Raises:
        ValueError: if `names` is unknown, or has none for this kind of module; or the module is
            abstract (`nnx.eval_shape`).
    """
    return {name: _exported(entry, dtype) for name, entry in named_entries(module, names).items()}


def load_state_dict(
    module: nnx.Module,
    state_dict: Mapping[str, Any],
    names: str = "native",
    *,
    new_head: bool = False,
    adapt_stem: bool = False,
    dtype: jnp.dtype | type | None = None,
) -> None:
    """Load PyTorch weights into the module, in place: all of them or none.

    >>> conv, twin = (fb.Conv(3, 8, 3, rngs=nnx.Rngs(seed)) for seed in (0, 1))
    >>> fb.load_state_dict(twin, fb.state_dict(conv))
    >>> bool((conv.kernel[...] == twin.kernel[...]).all())
    True

    Args:
        module: the module that receives them; may be abstract (`nnx.eval_shape`).
        state_dict: arrays by name, in PyTorch's layout: NumPy, JAX or PyTorch. A prefix such as
            ``module.`` or ``model.`` that all the names have is dropped.
        names: whose parameter names it uses, see `state_dict`.
        new_head: whether a network keeps its own classifier, or none (`num_classes` 0), instead of
            the checkpoint's.
        adapt_stem: whether a first kernel that reads RGB is turned into one for the network's own
            `in_features`, by timm's rule: the sum of the three channels for one, else the three
            repeated, times ``3 / in_features``.
        dtype: dtype that the floating point variables get; each keeps its own where absent, as
            in PyTorch, whatever the checkpoint's. A ``num_batches_tracked`` that is missing stays
            as it is, as in PyTorch.

    Raises:
        ValueError: if `names` is unknown; or the state dict does not fit, the message names the
            likeliest cause and the first missing, unexpected and misshapen entries; or an entry
            is no tensor, or none that is stored densely; or a value is NaN or infinite in the
            variable's dtype; or `new_head` or `adapt_stem` cannot be done. The module is unchanged.
    """
    wanted = named_entries(module, names)
    given = dict(without_prefixes(state_dict, wanted))
    check_readable(given)
    if new_head:
        given = keep_head(module, given, NAMES[names])
    if adapt_stem:
        given = adapt_rgb(module, given, NAMES[names])
    problems = misfit(
        wanted,
        {name: tuple(np.shape(value)) for name, value in given.items()},
        _head(module, wanted),
        {n: _shapes(e) for n, e in known_entries(module).items() if n != names},
    )
    if problems:
        raise ValueError(
            f"`state_dict` does not fit {_called(module)}, nothing was loaded{problems}"
        )
    given |= _counters(wanted, given)
    for variable, value in _loaded(wanted, given, dtype):
        variable.set_value(value)


def named_entries(module: nnx.Module, names: str) -> dict[str, Entry]:
    """Return every tensor of the module's state dict by the name that `names` gives it.

    Raises:
        ValueError: if `names` is unknown, or has none for this kind of module.
    """
    if names not in NAMES:
        raise ValueError(f"`names` must be one of {sorted(NAMES)}, got {names!r}")
    return NAMES[names](module)


def known_entries(module: nnx.Module) -> dict[str, dict[str, Entry]]:
    """Return what `named_entries` does for each of `NAMES` that covers this kind of module."""
    found: dict[str, dict[str, Entry]] = {}
    for names, entries_of in NAMES.items():
        try:
            found[names] = entries_of(module)
        except ValueError:  # this vendor has no names for the module
            continue
    return found


def _counters(wanted: Mapping[str, Entry], given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the counts of batches that are not given: PyTorch too leaves them as they are."""
    return {
        name: _own_count(entry.variable)
        for name, entry in wanted.items()
        if name.endswith(COUNTER) and name not in given
    }


def _own_count(variable: nnx.Variable[Any] | None) -> np.ndarray:
    value = None if variable is None else variable.get_value()
    return np.asarray(0 if value is None or isinstance(value, jax.ShapeDtypeStruct) else value)


def _head(module: nnx.Module, wanted: Mapping[str, Entry]) -> list[str]:
    """Return the names of a network's classifier."""
    classifier = module.head.classifier if isinstance(module, Backbone) else None
    own = (
        {id(value) for value in vars(classifier).values()} if classifier is not None else set[int]()
    )
    return [name for name, entry in wanted.items() if id(entry.variable) in own]


def _shapes(entries: Mapping[str, Entry]) -> dict[str, tuple[int, ...]]:
    return {name: entry.shape for name, entry in entries.items()}


def _called(module: nnx.Module) -> str:
    name = module.name if isinstance(module, Backbone) else None
    return name or type(module).__name__


def _exported(entry: Entry, dtype: Any) -> np.ndarray:
    if entry.variable is None:
        return np.zeros((), np.int64)
    value = entry.variable.get_value()
    if isinstance(value, jax.ShapeDtypeStruct):
        raise ValueError("`module` is abstract (nnx.eval_shape): it has no weights yet")
    array = np.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.integer):
        return entry.layout.to_torch(array).astype(np.int64)  # as PyTorch's counters are
    return np.array(entry.layout.to_torch(array), dtype or array.dtype, order="C")


def _loaded(
    wanted: dict[str, Entry], given: Mapping[str, Any], dtype: Any
) -> list[tuple[nnx.Variable[Any], jax.Array]]:
    """Return the new value of each variable, having read one tensor at a time."""
    loaded: list[tuple[nnx.Variable[Any], jax.Array]] = []
    broken: list[str] = []
    changed: list[str] = []
    for name, entry in wanted.items():
        if entry.variable is None:
            continue
        value = entry.layout.from_torch(to_numpy(given[name]))
        array = _converted(entry.variable, value, dtype)
        if jnp.issubdtype(array.dtype, jnp.integer) and not np.array_equal(array, value):
            changed.append(f"{name} (as {array.dtype})")
        if jnp.issubdtype(array.dtype, jnp.floating) and not np.isfinite(array).all():
            broken.append(f"{name} (as {array.dtype})")
        loaded.append((entry.variable, _placed(entry.variable, array)))
    if broken:
        raise ValueError(
            f"`state_dict` has NaN or infinite values, nothing was loaded: {enumerated(broken)}"
        )
    if changed:
        raise ValueError(
            f"`state_dict` has counts that are too large or not whole, nothing was loaded: "
            f"{enumerated(changed)}"
        )
    return loaded


def _converted(variable: nnx.Variable[Any], array: np.ndarray, dtype: Any) -> np.ndarray:
    old: np.dtype[Any] = variable.get_value().dtype
    changes = dtype is not None and jnp.issubdtype(old, jnp.floating)
    with np.errstate(over="ignore"):  # what a narrow dtype cannot hold is reported by name
        # A private copy: JAX may alias a NumPy array on CPU, PyTorch updates buffers in place.
        return np.array(array, dtype if changes else old, order="C")


def _placed(variable: nnx.Variable[Any], array: np.ndarray) -> jax.Array:
    return jax.device_put(array, getattr(variable.get_value(), "sharding", None))
