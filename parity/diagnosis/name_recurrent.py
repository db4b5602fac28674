"""Matches the tensors of LSTM and GRU layers, which each library keeps in its own way.

PyTorch joins the gates of a layer, and has two biases for each gate. Others keep each gate apart,
or exchange two of them, and have one bias where it is the sum of PyTorch's two.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from parity.sides.links import Link, Names
from torch_ref.harness.passes import modules_of

Shapes = Mapping[str, tuple[int, ...]]
GATES: dict[type[nn.Module], str] = {nn.LSTM: "ifgo", nn.GRU: "rzn"}
"""PyTorch's gates in the order of its rows."""
KERAS = {"ifgo": "ifgo", "rzn": "zrn"}
_JOINED = {
    "i": ("dense_i.weight", "weight_ih", "weight"),
    "h": ("dense_h.weight", "weight_hh", "recurrent_kernel"),
}
"""What the joined kernels of the input and of the state are called."""
_BIASES = {"i": ("dense_i.bias", "bias"), "h": ("dense_h.bias", "bias")}


def recurrent_names(module: nn.Module, ours: Shapes, taken: Sequence[str]) -> Names:
    """Return which tensor is which in a module's LSTM and GRU layers, those of one shape in order.

    Args:
        module: PyTorch's module.
        ours: shapes of JAX's tensors by native name.
        taken: JAX's names in the order in which a run reads them.
    """
    left = _cells([*dict.fromkeys((*taken, *ours))], ours)
    found: Names = {}
    for path, layer in modules_of(module).items():
        gates = GATES.get(type(layer))
        for name, weight in layer.named_parameters(recurse=False) if gates else ():
            if gates is None or not name.startswith("weight_ih_"):
                continue
            end = name.removeprefix("weight_ih")
            sizes = weight.shape[1], weight.shape[0] // len(gates)
            biased = hasattr(layer, f"bias_ih{end}")
            fitting = (own for own in left if _fits(own, left[own], gates, sizes))
            cell = next(fitting, None)
            if cell is not None:
                parts = [*_parts(left.pop(cell), gates, sizes[1], biased)]
                prefixes = f"{path}." if path else "", f"{cell}." if cell else ""
                found |= dict(_merged(parts, end, *prefixes))
    return found


def _cells(order: Sequence[str], shapes: Shapes) -> dict[str, Shapes]:
    """Return the shapes of what may be cells by the names inside, by the cell's path."""
    ends = (*_JOINED["h"], "hi.weight", "hr.weight")
    found: dict[str, Shapes] = {}
    for name in order:
        for end in ends:
            path = name.removesuffix(end)
            if path != name and (path == "" or path.endswith(".")):
                found[path.rstrip(".")] = {
                    n.removeprefix(path): s for n, s in shapes.items() if n.startswith(path)
                }
    return found


def _fits(path: str, cell: Shapes, gates: str, sizes: tuple[int, int]) -> bool:
    place = _kernel(cell, gates, sizes[1], "i", gates[-1])
    if place is None:
        return False
    rows = sizes[1] * (1 if place[1] is None else len(gates))
    return cell[place[0]] == (rows, sizes[0])


Place = tuple[str, tuple[int, int] | None]  # a tensor, and the rows of it; all where absent


def _kernel(cell: Shapes, gates: str, size: int, side: str, gate: str) -> Place | None:
    """Return where a cell keeps a gate's kernel."""
    for name in (f"{side}{gate}.weight", f"{side}{gate}_.weight"):
        if name in cell:
            return name, None
    for name in _JOINED[side]:
        if name in cell:
            return name, _rows(_order(cell, gates).index(gate), size)
    return None


def _bias(cell: Shapes, gates: str, size: int, side: str, gate: str) -> Place | None:
    """Return where a cell keeps one of PyTorch's two biases of a gate, None where nowhere."""
    at = _order(cell, gates).index(gate)
    for one in (side, "h", "i"):
        for name in (f"{one}{gate}.bias", f"{one}{gate}_.bias"):
            if name in cell:
                return name, None
    if gates == "rzn" and gate == "n" and side == "h":
        if "bias_n" in cell:
            return "bias_n", None
        # This bias is inside the product with a gate: the input's cannot stand for it.
        if cell.get("bias", (0,))[0] != 2 * len(gates) * size:
            return None
    for name in (*_BIASES[side], *_BIASES["i"], *_BIASES["h"]):
        if name in cell:
            both = cell[name][0] == 2 * len(gates) * size
            return name, _rows(at + (len(gates) if both and side == "h" else 0), size)
    return None


def _order(cell: Shapes, gates: str) -> str:
    return KERAS[gates] if "recurrent_kernel" in cell else gates


def _rows(at: int, size: int) -> tuple[int, int]:
    return at * size, (at + 1) * size


def _parts(
    cell: Shapes, gates: str, size: int, biased: bool
) -> Iterator[tuple[str, tuple[int, int], Place]]:
    """Yield each part of PyTorch's tensors: the tensor, its rows, and where it is in the cell."""
    for side in "ih":
        for at, gate in enumerate(gates):
            kernel = _kernel(cell, gates, size, side, gate)
            bias = _bias(cell, gates, size, side, gate) if biased else None
            if kernel is not None:
                yield f"weight_{side}h", _rows(at, size), kernel
            if bias is not None:
                yield f"bias_{side}h", _rows(at, size), bias


def _merged(
    parts: Sequence[tuple[str, tuple[int, int], Place]], end: str, theirs: str, ours: str
) -> Iterator[tuple[str, Any]]:
    """Yield the entries of the parts; those of two whole tensors are one.

    What comes second to where another is already is added to it.
    """
    total = max(rows[1] for _, rows, _ in parts)
    filled: set[Place] = set()
    for tensor in dict.fromkeys(name for name, _, _ in parts):
        own = [(rows, place) for name, rows, place in parts if name == tensor]
        adds = {place in filled for _, place in own}
        whole = all(rows == place[1] for rows, place in own) and len({p[0] for _, p in own}) == 1
        name = f"{theirs}{tensor}{end}"
        if whole and len(own) * (own[0][0][1]) == total and len(adds) == 1:
            yield Link(name, ours + own[0][1][0], adds=adds.pop()).entry
        else:
            for rows, place in own:
                link = Link(name, ours + place[0], rows, place[1], adds=place in filled)
                yield link.entry
        filled |= {place for _, place in own}
