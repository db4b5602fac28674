# pyright: reportUnknownMemberType=false
"""Lines up a PyTorch module and a JAX module: names and shapes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx
from torch import nn

from flaxblocks import ConvNormAct
from flaxblocks.weights.entries import COUNTER, Entry, entries
from flaxblocks.weights.state_dict import NAMES
from parity.sides import flax_side
from parity.sides.links import Link, Names, joined, same_shape
from parity.sides.tied import each_once, first_names, further_names
from parity.sides.torch_side import children_after
from torch_ref.harness.passes import modules_of


@dataclass(frozen=True)
class Pair:
    """Two modules and how their names correspond."""

    torch_module: nn.Module  # the reference
    jax_module: nnx.Module  # the module under test
    # native name of each tensor of PyTorch's state dict that has a counterpart
    keys: dict[str, str]
    missing: tuple[str, ...]  # names, with shapes, that only PyTorch has, or that differ in shape
    unexpected: tuple[str, ...]  # names, with shapes, that only JAX has
    # native path of each PyTorch module that has a counterpart; another path for what only has the
    # name of one of ours
    paths: dict[str, str]
    # names, with both shapes, of what differs in shape alone
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    links: tuple[Link, ...] = ()  # which tensor becomes which, where JAX's has its own layout too
    # Of native tensors.
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    # of PyTorch's tensors for which JAX has one that is another's already: the other's name
    shared: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def lines_up(self) -> bool:
        """Whether names and shapes are a bijection."""
        return not self.missing and not self.unexpected

    @property
    def names(self) -> Names:
        """The correspondence as a mapping that `pair_up` takes."""
        return self.keys | dict(link.entry for link in self.links)

    @property
    def is_abstract(self) -> bool:
        """Whether PyTorch's parameters have no values: only names and shapes can be compared."""
        return any(parameter.is_meta for parameter in self.torch_module.parameters())

    @property
    def has_modes(self) -> bool:
        """Whether PyTorch's side can train; an exported program has the mode it was recorded in."""
        return getattr(self.torch_module, "has_modes", True)

    @property
    def parameter_counts(self) -> tuple[int, int]:
        """The number of parameters in PyTorch and in JAX."""
        ours = jax.tree.leaves(nnx.state(self.jax_module, nnx.Param))
        theirs = self.torch_module.parameters()
        return sum(p.numel() for p in theirs), sum(leaf.size for leaf in ours)

    @property
    def added(self) -> int:
        """How many of PyTorch's parameters are added to others in JAX."""
        held = self.torch_module.state_dict(keep_vars=True)
        return sum(
            held[x.theirs].numel() if x.their_rows is None else x.their_rows[1] - x.their_rows[0]
            for x in self.links
            if x.adds
        )

    def gradients(self, torch_named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return PyTorch's gradients as native ones: of a sum each term has that of the whole."""
        terms = [link for link in self.links if not link.adds]
        return joined(terms, torch_named, self.shapes) | self._unknown(torch_named)

    def weights(self, torch_named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what JAX's side takes of PyTorch's arrays, under native names."""
        return joined(self.links, torch_named, self.shapes)

    def native(self, torch_named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return PyTorch's arrays as native ones; what has no counterpart keeps its name."""
        return self.weights(torch_named) | self._unknown(torch_named)

    def _unknown(self, torch_named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        known = {*self.keys, *(link.theirs for link in self.links)}
        return {name: value for name, value in torch_named.items() if name not in known}


def pair_up(
    torch_module: nn.Module, jax_module: nnx.Module, names: str | Mapping[str, Any] = "native"
) -> Pair:
    """Line up the two modules' names.

    Args:
        torch_module: the reference.
        jax_module: the module under test.
        names: whose parameter names PyTorch's module uses, as for `load_state_dict`; or a mapping
            from module paths in PyTorch to module paths in JAX, where the two differ, and from
            tensors to tensors, see `parity.sides.links.Names`.

    Raises:
        ValueError: if `names` is unknown.
    """
    ours = entries(jax_module)
    firsts = first_names(ours)
    special = [replace(x, native=firsts.get(x.native, x.native)) for x in _special(names)]
    names = names if isinstance(names, str) else _plain(names)
    back = {} if isinstance(names, str) else _back(names)
    wanted = _entries(jax_module, names)
    native = {id(ours[first].variable): first for first in firsts.values()}
    for link in (x for x in special if not x.adds):
        wanted.pop(_renamed(link.native, back), None)
    held = torch_module.state_dict(keep_vars=True)
    given = {name: tuple(value.shape) for name, value in held.items()}
    own_shapes = {name: tuple(entry.shape) for name, entry in ours.items()}
    for link in special:
        link.check(given, own_shapes)
    counters = {_renamed(n, back): n for n in ours} if back else {}
    keys = {
        name: native.get(id(wanted[name].variable), counters.get(name, name))
        for name, shape in given.items()
        if name in wanted and same_shape(wanted[name].shape, shape)
    }
    keys, shared = each_once(keys, held)
    links = (*(Link(theirs, own) for theirs, own in keys.items()), *special)
    keys |= {link.theirs: link.native for link in special if link.is_whole}
    paths = _paths(torch_module, jax_module, keys, names)
    keys |= dict(further_names(held, keys))
    linked, known = {*keys, *(link.theirs for link in special)}, {link.native for link in links}
    notes = {n: f" (JAX has {wanted[n].shape})" for n in given if n in wanted}
    notes |= {name: f" (JAX has that of {other} alone)" for name, other in shared.items()}
    missing = [
        f"{name} {shape}{notes.get(name, '')}"
        for name, shape in given.items()
        if name not in linked and (name in wanted or not is_constant(held[name]))
    ]
    missing += [f"{name}[{start}:{end}]" for name, start, end in _left_over(special, given)]
    unexpected = [
        f"{name} {e.shape}"
        for name, e in wanted.items()
        if name not in given and not _counts(name) and native.get(id(e.variable)) not in known
    ]
    misshapen = [n for n in given if n in wanted and n not in linked and n not in shared]
    return Pair(
        torch_module,
        jax_module,
        keys,
        tuple(missing),
        tuple(unexpected),
        paths,
        tuple((name, given[name], wanted[name].shape) for name in misshapen),
        links,
        {name: entry.shape for name, entry in ours.items()},
        shared,
    )


def _left_over(
    links: list[Link], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, int, int]]:
    """Yield the rows of PyTorch's tensors that no link takes, where some take others."""
    for name in dict.fromkeys(link.theirs for link in links):
        rows = sorted(
            link.their_rows or (0, shapes[name][0]) for link in links if link.theirs == name
        )
        ends = [0, *(end for _, end in rows)]
        starts = [*(start for start, _ in rows), shapes[name][0]]
        yield from (
            (name, end, start) for end, start in zip(ends, starts, strict=True) if end < start
        )


def _special(names: str | Mapping[str, Any]) -> list[Link]:
    """Return what a mapping says of tensors beside their names."""
    said: Mapping[str, Any] = {} if isinstance(names, str) else names
    return [Link.of(*item) for item in said.items() if not _is_plain(*item)]


def _plain(names: Mapping[str, Any]) -> dict[str, str]:
    return {theirs: native for theirs, native in names.items() if _is_plain(theirs, native)}


def _is_plain(theirs: str, native: Any) -> bool:
    return isinstance(native, str) and Link.of(theirs, native).is_whole


def is_constant(value: torch.Tensor) -> bool:
    """Return whether a tensor counts or indexes: a port may have it in its code."""
    return not value.is_floating_point() and not value.is_complex()


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] == COUNTER


def _entries(jax_module: nnx.Module, names: str | Mapping[str, str]) -> dict[str, Entry]:
    if isinstance(names, str):
        if names not in NAMES:
            raise ValueError(f"`names` must be one of {sorted(NAMES)} or a mapping, got {names!r}")
        return NAMES[names](jax_module)
    back = _back(names)
    return {_renamed(name, back): entry for name, entry in entries(jax_module).items()}


def _back(names: Mapping[str, str]) -> dict[str, str]:
    return {ours: theirs for theirs, ours in names.items()}


def _renamed(name: str, paths: Mapping[str, str]) -> str:
    """Replace the longest leading path of `name` that `paths` has."""
    head, tail = name, ""
    while head:
        if head in paths:
            return ".".join(part for part in (paths[head], tail) if part)
        head, _, last = head.rpartition(".")
        tail = f"{last}.{tail}" if tail else last
    return name


def _paths(
    torch_module: nn.Module,
    jax_module: nnx.Module,
    keys: Mapping[str, str],
    names: str | Mapping[str, str],
) -> dict[str, str]:
    """Pair modules that own or contain the same tensors, and units that end the same.

    A module without tensors goes with the name that it has, if what encloses it is a pair. Where
    a name of one of ours stands for something else, the other steps aside.
    """
    ours = dict(flax_side.named_modules(jax_module))
    owners = {t.rpartition(".")[0]: n.rpartition(".")[0] for t, n in keys.items()}
    ends = dict(_ends_of_units(torch_module, owners, ours))
    renames: Mapping[str, str] = {} if isinstance(names, str) else names
    paths = {"": ""}
    for path in modules_of(torch_module):
        parent = path.rpartition(".")[0]
        native = ends.get(path) or owners.get(path) or _renamed(path, renames)
        own_names = names == "native" or isinstance(names, Mapping)
        known = path in ends or path in owners or path == ""
        inside = {n for t, n in keys.items() if t.startswith(f"{path}.")}
        contained = {n for n in keys.values() if n.startswith(f"{native}.")}
        same = inside == contained if inside or contained else paths.get(parent) in ours
        if known or (own_names and native in ours and same):
            paths.setdefault(path, native)
        elif path in ours:
            paths[path] = f"PyTorch's {path}"
    return paths


def _ends_of_units(
    torch_module: nn.Module, owners: Mapping[str, str], ours: Mapping[str, nnx.Module]
) -> Iterator[tuple[str, str]]:
    """Yield the last child of a norm that applies the activation too, with our unit of the two.

    A unit without an activation has none to compare: what encloses it may apply it.
    """
    for path, part in modules_of(torch_module).items():
        name = owners.get(path, "").rpartition(".")[0]
        unit = ours.get(name)
        if isinstance(unit, ConvNormAct) and unit.act is not None:
            yield from ((f"{path}.{child}", name) for child, _ in children_after(part)[-1:])
