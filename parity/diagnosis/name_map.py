# pyright: reportUnknownMemberType=false
"""Finds which tensor of a JAX module is which of PyTorch's, without a line written by hand.

Both sides are taken in the order in which a run reads their tensors, see `name_order`. Where layers
of one shape are read in another order, as the branches of a block may be, what makes the outputs
agree decides; so it does where a linear layer reads a flattened image.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from flax import nnx

from flaxblocks.weights.entries import LEAVES, entries
from parity.diagnosis.convolutions import other_weights
from parity.diagnosis.diagnose import HYPOTHESES, search_in
from parity.diagnosis.name_order import in_order, owner
from parity.diagnosis.name_recurrent import recurrent_names
from parity.diagnosis.search import Finding
from parity.sides import flax_side, given
from parity.sides.calls import Input, as_input
from parity.sides.frame import Frame
from parity.sides.links import Link, Names
from parity.sides.pairing import Pair, pair_up
from parity.sides.ports.port import Port
from parity.sides.runs import Runs
from parity.sides.tied import first_names
from parity.trace.torch_program import Program, record
from torch_ref.harness import passes

EXCHANGES = 200  # layers that may be read in another order


def find_names(torch_module: Any, jax_module: Any, x: Any) -> Names:
    """Return the native name of each tensor of PyTorch's state dict that has a counterpart.

    Args:
        torch_module: the reference, as for `parity.compare`.
        jax_module: the network under test.
        x: an input.

    Returns:
        A mapping that `parity.compare` takes as `names`; it may be saved as JSON and edited. Where
        a tensor is laid out otherwise, or is a part of another, it says so: see
        `parity.sides.links`.
    """
    x = as_input(x)
    torch_module, jax_module = given.torch_side(torch_module, x), given.jax_side(jax_module, x)
    reference = passes.with_dtype(torch_module, "float64").eval()
    program = record(reference, *Frame.of(reference, x).tensors(x, torch.float64))
    theirs = {name: tuple(value.shape) for name, value in reference.state_dict().items()}
    known = entries(jax_module)
    firsts = first_names(known)
    ours = {n: entry.shape for n, entry in known.items() if firsts.get(n, n) == n}
    orders = _read_order(program), _jax_order(jax_module, x)
    found = recurrent_names(torch_module, ours, orders[1])
    links = [Link.of(*item) for item in found.items()]
    theirs = _without(theirs, {link.theirs for link in links})
    ours = _without(ours, {link.native for link in links})
    likely = [found | in_order(theirs, ours, *orders, turned) for turned in (False, True)]
    likely = [names for names in likely if len(names) == max(map(len, likely))]
    if len(likely) > 1 and (likely[0] == likely[1] or not _guesses(jax_module)):
        likely = likely[:1]
    pairs = [(pair_up(torch_module, jax_module, names), names) for names in likely]
    fitting = [_agreeing(*each, x) for each in pairs if each[0].lines_up]
    return min(fitting, key=lambda each: each[1])[0] if fitting else likely[0]


def _without(shapes: dict[str, tuple[int, ...]], names: set[str]) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, shape in shapes.items() if name not in names}


def _read_order(program: Program) -> list[str]:
    names = {slot: name for name, slot in program.parameters.items()}
    return list(dict.fromkeys(names[s] for o in program.operations for s in o.reads if s in names))


def _jax_order(port: nnx.Module, x: Input) -> list[str]:
    """Return the native names of the tensors in the order in which a run reads them."""
    port = nnx.clone(port)
    program = flax_side.program(port, x, "eval")
    known = entries(port)
    by_id = {id(known[first].variable): first for first in first_names(known).values()}
    flat = cast(Iterable[tuple[Sequence[Any], Any]], nnx.to_flat_state(nnx.state(port)))
    names = [by_id.get(id(_at(port, path)), "") for path, _ in flat]
    return [names[i] for i in program.read_order() if i < len(names) and names[i]]


def _at(module: Any, path: Sequence[Any]) -> Any:
    for key in path:
        module = module[key] if isinstance(key, int) else getattr(module, key)
    return module


def _guesses(module: nnx.Module) -> bool:
    """Return whether it holds kernels of a user's own, which may be laid out in any way."""
    if isinstance(module, Port):
        return module.guesses
    parts = dict(flax_side.named_modules(module))
    return any(
        len(entry.shape) > 1 and not isinstance(parts[owner(name)], tuple(LEAVES))
        for name, entry in entries(module).items()
    )


def _agreeing(pair: Pair, found: Names, x: Input) -> tuple[Names, tuple[bool, int]]:
    """Put right what the order of reading leaves open, by what makes the outputs agree.

    Beside the names it returns whether the outputs still differ, and how many causes there are.

    Layers of one shape may be read in different orders: there, JAX seems to take the weights of
    another layer. A linear layer may take a flattened image in another order. What else differs is
    a fault of the port and says nothing of names.
    """
    search = search_in(Runs(pair, [x]), training=False)
    result = search.find((other_weights, *HYPOTHESES), rounds=EXCHANGES)
    names = dict(found)
    for finding in result.findings:
        for operation in finding.operations:
            if finding.change.takes:
                _exchange(names, found, operation.path, finding.change.takes)
            weight = f"{operation.path}.weight"
            if finding.change.relays and weight in names:
                names[weight] = _relaid(names[weight], finding)
    natives = [str(native) for native in names.values()]
    left = result.error > search.limit, len(result.findings)
    return (names if len(set(natives)) == len(natives) else found), left


def _exchange(names: Names, found: Names, path: str, other: str) -> None:
    for name in (n for n in found if n.startswith(f"{path}.")):
        twin = f"{other}.{name.removeprefix(f'{path}.')}"
        names[name] = found.get(twin, names[name])


def _relaid(entry: Any, finding: Finding) -> Any:
    """Return what says of a kernel that it is laid out otherwise, beside what was said already."""
    assert finding.change.relays is not None  # asked for by its caller
    shape, order = finding.change.relays
    said = {"name": entry} if isinstance(entry, str) else cast(dict[str, Any], entry)
    if said.get("transpose") == [1, 0]:
        order = (*order[1:], order[0])
    elif len(said) > 1:
        return entry
    return said | {"reshape": list(shape), "transpose": list(order)}
