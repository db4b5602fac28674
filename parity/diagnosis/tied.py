# pyright: reportUnknownMemberType=false
"""Weights that are tied on one side only."""

from collections.abc import Iterator, Sequence
from copy import deepcopy

from torch import nn

from parity.checks import measure
from parity.diagnosis.sentences import Cause
from parity.sides.pairing import Pair, is_constant, pair_up
from parity.sides.runs import Runs


def in_ties(runs: Runs) -> Iterator[Cause]:
    """Yield a cause for each tensor that is one on one side, and several on the other."""
    yield from _one_in_torch(runs.pair)
    for name, other in runs.pair.shared.items():
        yield _cause("JAX", (other, name), "PyTorch")
    if not runs.pair.lines_up and not runs.pair.unexpected and not runs.pair.is_abstract:
        yield from _used_again(runs)


def _one_in_torch(pair: Pair) -> Iterator[Cause]:
    names: dict[int, list[str]] = {}
    for name, tensor in pair.torch_module.state_dict(keep_vars=True).items():
        if name in pair.keys and not is_constant(tensor):
            names.setdefault(id(tensor), []).append(name)
    for alike in names.values():
        if len({pair.keys[name] for name in alike}) > 1:
            yield _cause("PyTorch", alike, "JAX")


def _cause(one: str, names: Sequence[str], several: str) -> Cause:
    text = f"tied weights: {one} has one tensor for {' and '.join(names)}, {several} {len(names)}"
    fix = "share the variable" if several == "JAX" else "give each layer a variable of its own"
    return Cause(text, tuple(name.rpartition(".")[0] for name in names), "any", fix)


def _used_again(runs: Runs) -> Iterator[Cause]:
    """Yield the one tensor that JAX uses where PyTorch has one that JAX has not, if it does."""
    pair = runs.pair
    held = dict(pair.torch_module.named_parameters(remove_duplicate=False))
    known = {*pair.keys, *pair.shared, *(link.theirs for link in pair.links)}
    left = [name for name in held if name not in known]
    if len(left) != 1:
        return
    for name in (n for n in pair.keys if n in held and held[n].shape == held[left[0]].shape):
        tied = pair_up(_tied(pair.torch_module, left[0], name), pair.jax_module, pair.names)
        again = Runs(tied, runs.inputs[:1], runs.seed, runs.randomize)
        if not tied.lines_up:
            return
        theirs, ours = again.forward("float64", 0)
        error = measure.scaled_error(ours.outputs[""], theirs.outputs[""])
        if error <= again.limit("output", 0, False):
            yield _cause("JAX", (name, left[0]), "PyTorch")
            return


def _tied(module: nn.Module, name: str, other: str) -> nn.Module:
    """Return a copy of a module in which one parameter is another."""
    copy = deepcopy(module)
    path, _, leaf = name.rpartition(".")
    setattr(copy.get_submodule(path), leaf, copy.get_parameter(other))
    return copy
