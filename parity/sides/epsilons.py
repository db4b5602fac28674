# pyright: reportUnknownMemberType=false
"""What norms add to the variance, as both sides state it where they compute.

An eps that is off by a hundred-millionth moves the output of a deep network by less than rounding
may; what PyTorch's functions are given, and the attributes of JAX's layers, tell it all the same.
A norm that either side never calls, or that states none, is not told of.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from flax import nnx

from flaxblocks.layers import BatchNorm, LayerNorm
from flaxblocks.layers.group_norm import GroupNorm
from parity.sides.calls import path_of_call
from parity.sides.flax_side import named_modules
from parity.sides.ports.port import Port
from parity.trace.operations import NORMS, kind_of, named_arguments
from torch_ref.harness import passes
from torch_ref.harness.function_mode import FunctionMode

if TYPE_CHECKING:
    from parity.sides.runs import Runs

EPS = 1e-6  # how far two may be apart, as a fraction: JAX may keep one in float32
_DEFAULT = 1e-5  # PyTorch's, where a function is given none
_OWN = (nnx.BatchNorm, nnx.LayerNorm, nnx.GroupNorm, nnx.InstanceNorm, nnx.RMSNorm)
_KINDS: tuple[Any, ...] = (*_OWN, BatchNorm, LayerNorm, GroupNorm)
_CALLS = {kind.__call__ for kind in _KINDS}


@dataclass(frozen=True)
class Epsilons:
    """What two norms that are each other's counterpart add."""

    path: str  # of PyTorch's
    native: str  # of JAX's
    theirs: float
    ours: float

    @property
    def off(self) -> float:
        """How far the two are apart, as a fraction of the larger."""
        return abs(self.theirs - self.ours) / (max(self.theirs, self.ours) or 1.0)


def epsilons(runs: "Runs") -> Iterator[Epsilons]:
    """Yield those of the norms that both sides call on the first input, in PyTorch's order."""
    theirs, ours = _theirs(runs), _ours(runs)
    for tensor, given in theirs.items():
        native = runs.pair.keys.get(tensor, "").rpartition(".")[0]
        own = ours.get(native)
        if len(given) == 1 and own is not None:
            yield Epsilons(tensor.rpartition(".")[0], native, next(iter(given)), own)


def _theirs(runs: "Runs") -> dict[str, set[float]]:
    """Return what PyTorch adds, by the names of the scale or the mean that it normalizes with."""
    module = runs.torch_module("float32")
    held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    args, kwargs = runs.frame.tensors(runs.inputs[0], torch.float32)
    noting = _Noting({id(tensor): name for name, tensor in held.items()})
    for training in (False, True):
        passes.train_mode(module) if training else module.eval()
        with torch.no_grad(), noting:
            module(*args, **kwargs)
    return noting.found


class _Noting(FunctionMode):
    """While open, notes what norms are given.

    Args:
        names: of the module's tensors, by their `id`.
    """

    def __init__(self, names: Mapping[int, str]):
        super().__init__()
        self.names = names
        self.found: dict[str, set[float]] = {}

    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call the function, and note its eps."""
        kind = kind_of(func)
        if kind in NORMS:
            given = named_arguments(func, args, kwargs)
            eps = given.get("eps", None if kind == "rms_norm" else _DEFAULT)
            tensors = (self.names.get(id(given.get(n))) for n in ("weight", "running_mean"))
            name = next((name for name in tensors if name is not None), None)
            if name is not None and eps is not None:
                self.found.setdefault(name, set()).add(float(eps))
        return func(*args, **kwargs)


def _ours(runs: "Runs") -> dict[str, float]:
    """Return what JAX's layers add, by native path, where these compute as their library does."""
    port = runs.pair.jax_module
    (_, evaluated), (_, trained) = runs.forward("float64", 0), runs.trained(0)
    if isinstance(port, Port):
        return dict(port.epsilons())
    called = {path_of_call(call)[0] for call in (*evaluated.outputs, *trained.outputs)}
    found: dict[str, float] = {}
    for path, part in named_modules(port):
        norm: Any = part
        if path in called and isinstance(norm, _KINDS) and type(norm).__call__ in _CALLS:
            found[path] = float(norm.epsilon)
    return found
