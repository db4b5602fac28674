"""Finds which tensor of a JAX module is which of PyTorch's, without a line written by hand.

Both sides are taken in the order in which a run reads their tensors. Each of PyTorch's goes with
the next of JAX's that has its role and its shape. Where layers of one shape are read in another
order, as the branches of a block may be, what makes the outputs agree decides.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from flax import nnx
from torch import nn

from flaxblocks.weights.entries import Entry, entries
from parity.diagnosis.convolutions import other_weights
from parity.diagnosis.diagnose import HYPOTHESES, search_in
from parity.sides import flax_side, given
from parity.sides.calls import Input, as_input
from parity.sides.frame import Frame
from parity.sides.pairing import Pair, pair_up
from parity.sides.runs import Runs
from parity.trace.torch_program import Program, record
from torch_ref.harness import passes

EXCHANGES = 200  # layers that may be read in another order
Names = dict[str, str]


def find_names(torch_module: Any, jax_module: Any, x: Any) -> Names:
    """Return the native name of each tensor of PyTorch's state dict that has a counterpart.

    Args:
        torch_module: the reference, as for `parity.compare`.
        jax_module: the network under test.
        x: an input.

    Returns:
        A mapping that `parity.compare` takes as `names`; it may be saved as JSON and edited.
    """
    x = as_input(x)
    torch_module, jax_module = given.torch_side(torch_module, x), given.jax_side(jax_module, x)
    reference = passes.with_dtype(torch_module, "float64").eval()
    program = record(reference, *Frame.of(reference, x).tensors(x, torch.float64))
    found = _in_order(program, reference, jax_module, x)
    pair = pair_up(torch_module, jax_module, found)
    return _exchanged(pair, x) if pair.lines_up else found


def _in_order(program: Program, module: nn.Module, port: nnx.Module, x: Input) -> Names:
    """Match tensors in the order of their first use."""
    theirs, ours = module.state_dict(), entries(port)
    order = [name for name in _read_order(program) if name in theirs]
    order += [name for name in theirs if name not in order]
    left = [name for name in _flax_order(port, x) if name in ours]
    left += [name for name in ours if name not in left]
    found: Names = {}
    owners: Names = {}
    for name in order:
        owner = name.rpartition(".")[0]
        fitting = [n for n in left if _fits(name, tuple(theirs[name].shape), n, ours[n])]
        beside = [n for n in fitting if n.rpartition(".")[0] == owners.get(owner)]
        if fitting if owner not in owners else beside:
            native = beside[0] if beside else fitting[0]
            found[name] = native
            owners.setdefault(owner, native.rpartition(".")[0])
            left.remove(native)
    return found


def _fits(name: str, shape: tuple[int, ...], native: str, entry: Entry) -> bool:
    roles = name.rpartition(".")[2], native.rpartition(".")[2]
    return roles[0] == roles[1] and shape == entry.shape


def _read_order(program: Program) -> Iterator[str]:
    names = {slot: name for name, slot in program.parameters.items()}
    read = [names[slot] for o in program.operations for slot in o.reads if slot in names]
    yield from dict.fromkeys(read)


def _flax_order(port: nnx.Module, x: Input) -> list[str]:
    """Return the native names of the tensors in the order in which a run reads them."""
    port = nnx.clone(port)
    program = flax_side.program(port, x, "eval")
    by_id = {id(e.variable): n for n, e in entries(port).items() if e.variable is not None}
    names = [by_id.get(id(_at(port, path)), "") for path, _ in nnx.to_flat_state(nnx.state(port))]
    return [names[i] for i in program.read_order() if i < len(names) and names[i]]


def _at(module: Any, path: Sequence[Any]) -> Any:
    for key in path:
        module = module[key] if isinstance(key, int) else getattr(module, key)
    return module


def _exchanged(pair: Pair, x: Input) -> Names:
    """Put right the layers of one shape that the two sides read in different orders.

    There, JAX seems to take the weights of another layer; what else differs is a fault of the
    port and says nothing of names.
    """
    runs = Runs(pair, [x])
    search = search_in(runs, training=False)
    result = search.find((other_weights, *HYPOTHESES), rounds=EXCHANGES)
    names = dict(pair.keys)
    for finding in result.findings:
        for operation in finding.operations if finding.change.takes else ():
            own, other = f"{operation.path}.", f"{finding.change.takes}."
            for name in (n for n in pair.keys if n.startswith(own)):
                twin = other + name.removeprefix(own)
                names[name] = pair.keys.get(twin, names[name])
    return names if len(set(names.values())) == len(names) else dict(pair.keys)
