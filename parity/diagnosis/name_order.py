"""Matches the tensors of two networks by the order in which they are read, role and shape."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import prod
from typing import Any

from parity.sides.links import Names, same_shape

Shapes = Mapping[str, tuple[int, ...]]
_ROLES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def in_order(
    theirs: Shapes, ours: Shapes, read: Iterable[str], taken: Iterable[str], turned: bool
) -> Names:
    """Return which tensor is which; what has no counterpart is left out.

    Each of PyTorch's goes with the next of JAX's that has its role and shape, beside those of its
    own layer. What is left then may be a part of another, or have another role.

    Args:
        theirs: shapes of PyTorch's tensors by name.
        ours: those of JAX's by native name.
        read: PyTorch's names in the order in which a run reads them.
        taken: JAX's.
        turned: whether JAX's kernels are taken to have their first axes last, (window, in, out),
            where such a kernel fits.
    """
    order = [name for name in dict.fromkeys((*read, *theirs)) if name in theirs]
    left = [name for name in dict.fromkeys((*taken, *ours)) if name in ours]
    found: Names = {}
    owners: dict[str, str] = {}
    done: set[str] = set()
    for place, name in enumerate(order):
        if name in done:
            continue
        same = [n for n in left if role(n) == role(name)]
        axes, fitting = _fitting(name, theirs[name], same, ours, turned)
        beside = [n for n in fitting if owner(n) == owners.get(owner(name))]
        known = owner(name) in owners
        parts = {} if known else _parts(order[place:], left, theirs, ours, bool(fitting))
        if parts:
            found |= parts
            done |= {name.partition("[")[0] for name in parts}
        elif beside if known else fitting:
            native = (beside or fitting)[0]
            found[name] = _entry(native, axes)
            owners.setdefault(owner(name), owner(native))
            left.remove(native)
            done.add(name)
    rest = [name for name in order if name not in done]
    found |= _over_images(rest, left, theirs, ours)
    rest = [n for n in rest if n not in found]
    return found | _of_other_roles(rest, left, theirs, ours, turned)


def owner(name: str) -> str:
    """Return the path of the layer that a tensor belongs to."""
    return name.rpartition(".")[0]


def role(name: str) -> str:
    """Return what a tensor is in its layer: a weight, a bias, a statistic, or something else."""
    leaf = name.rpartition(".")[2]
    return next((kind for kind in _ROLES if leaf.endswith(kind)), "")


def _fitting(
    name: str, shape: tuple[int, ...], left: Sequence[str], ours: Shapes, turned: bool
) -> tuple[tuple[int, ...], list[str]]:
    """Return which of JAX's tensors fit one of PyTorch's, and the order of axes in which they do.

    Args:
        name: PyTorch's tensor.
        shape: its shape.
        left: JAX's tensors that it may be.
        ours: their shapes.
        turned: whether its first axes may be last.
    """
    own = tuple(range(len(shape)))
    ways = [(*own[2:], 1, 0)] if turned and len(shape) > 1 and role(name) == "weight" else []
    for axes in (*ways, own):
        laid = tuple(shape[i] for i in axes)
        fitting = [n for n in left if same_shape(laid, ours[n])]
        if fitting:
            return axes, fitting
    return own, []


def _entry(native: str, axes: tuple[int, ...]) -> Any:
    if axes == tuple(range(len(axes))):
        return native
    return {"name": native, "transpose": list(axes)}


def _over_images(rest: Iterable[str], left: list[str], theirs: Shapes, ours: Shapes) -> Names:
    """Match linear layers of flattened images with convolutions over whole images; remove these."""
    found: Names = {}
    for name in rest:
        fitting = [
            n
            for n in left
            if role(n) == role(name) == "weight"
            and len(theirs[name]) == 2 < len(ours[n])
            and theirs[name] == (ours[n][0], prod(ours[n][1:]))
        ]
        if fitting:
            found[name] = {"name": fitting[0], "reshape": list(ours[fitting[0]])}
            left.remove(fitting[0])
    return found


def _of_other_roles(
    rest: list[str], left: list[str], theirs: Shapes, ours: Shapes, turned: bool
) -> Names:
    """Match what has no role, such as a layer's scale, whatever it is called; remove what is."""
    found: Names = {}
    for name in list(rest):
        other = [n for n in left if "" in (role(n), role(name)) and theirs[name]]
        axes, fitting = _fitting(name, theirs[name], other, ours, turned)
        if fitting:
            found[name] = _entry(fitting[0], axes)
            left.remove(fitting[0])
            rest.remove(name)
    return found


def _parts(
    order: Sequence[str], left: list[str], theirs: Shapes, ours: Shapes, fits: bool
) -> Names:
    """Match a linear layer with several beside each other, such as the projections of attention.

    Args:
        order: PyTorch's tensors from this one on.
        left: JAX's that have no counterpart yet; those that get one are removed.
        theirs: shapes of PyTorch's.
        ours: of JAX's.
        fits: whether one of JAX's has the shape of PyTorch's.
    """
    weights = [n for n in left if role(n) == "weight"]
    if role(order[0]) != "weight" or not weights:
        return {}
    found: Names = {}
    one_of_theirs = [] if fits else _filling(theirs[order[0]], weights, ours)
    for native, rows in one_of_theirs:
        for name, own in ((order[0], native), (_bias(order[0]), _bias(native))):
            if name in theirs and own in left:
                found["{}[{}:{}]".format(name, *rows)] = own
                left.remove(own)
    one_of_ours = [] if found else _filling(ours[weights[0]], order, theirs)
    for name, rows in one_of_ours if order[0] in dict(one_of_ours) else ():
        for own, native in ((name, weights[0]), (_bias(name), _bias(weights[0]))):
            if own in theirs and native in ours:
                found[own] = {"name": native, "rows": list(rows)}
    for native in {entry["name"] for entry in found.values() if not isinstance(entry, str)}:
        left.remove(native)
    return found


def _bias(weight: str) -> str:
    return weight.removesuffix("weight") + "bias"


def _filling(
    whole: tuple[int, ...], names: Sequence[str], shapes: Shapes
) -> list[tuple[str, tuple[int, int]]]:
    """Return the next layers beside each other that fill a matrix, each with its rows."""
    fitting = [n for n in names if role(n) == "weight" and len(shapes[n]) == len(whole) == 2]
    beside = [n for n in fitting if owner(owner(n)) == owner(owner(fitting[0]))]
    same = [n for n in beside if shapes[n][1:] == whole[1:]]
    ends = list(accumulate(shapes[name][0] for name in same))
    if whole[:1] == () or whole[0] not in ends[1:]:
        return []
    count = ends.index(whole[0]) + 1
    return list(zip(same[:count], zip((0, *ends), ends, strict=False), strict=False))
