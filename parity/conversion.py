"""PyTorch's checkpoints as those of a user's port, in its own names and layouts.

What becomes of the tensors is found once, from a pair, and is plain data, which a few lines of
Python follow without this package.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import combinations, permutations
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from flax import nnx

from flaxblocks.weights import safetensors_files, torch_files
from flaxblocks.weights.arrays import to_numpy
from flaxblocks.weights.entries import Entry, entries
from parity.sides.links import Link, Rows, joined
from parity.sides.pairing import Pair
from parity.sides.ports.port import Port

Recipe = dict[str, dict[str, Any]]
"""Of each of the port's tensors by its own name: ``parts``, PyTorch's tensors with the rows that
are joined, or null for all; where there is ``plus``, tensors with their rows that are added, each
from the row that is named; then what they are brought into: ``reshape``, ``transpose``, ``shape``;
``flip`` are axes that then run the other way."""

LINES = """
import json
import numpy as np
from safetensors.numpy import load_file, save_file

theirs, ours = load_file({source!r}), {{}}
for name, how in json.load(open({recipe!r})).items():
    parts = [np.atleast_1d(theirs[part])[slice(*rows or [None])] for part, rows in how["parts"]]
    joint = np.concatenate(parts)
    for part, rows, start in how.get("plus", []):
        term = theirs[part][slice(*rows or [None])]
        joint[start : start + len(term)] += term
    array = joint.reshape(how["reshape"]).transpose(how["transpose"])
    ours[name] = np.array(np.flip(array.reshape(how["shape"]), how["flip"]), order="C")
save_file(ours, {target!r})
"""
"""What converts a checkpoint without this package."""


def convert(recipe: Path, source: Path, target: Path) -> str:
    """Write a port's checkpoint; return the lines of Python that do the same without this package.

    Args:
        recipe: a JSON file with a `Recipe`.
        source: PyTorch's checkpoint, safetensors or what `torch.save` wrote.
        target: a safetensors file.

    Raises:
        ValueError: if a file cannot be read, or the checkpoint does not fit.
    """
    try:
        steps = json.loads(recipe.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"`--from-port` cannot be read as JSON: {recipe}: {error}") from error
    if not isinstance(steps, dict):
        raise ValueError(f"`--from-port` must be a file that `--to-port` wrote, got {recipe}")
    for name, how in cast(dict[str, Any], steps).items():
        if not _is_step(how):
            raise ValueError(
                f"`--from-port` must be a file that `--to-port` wrote, {recipe} is none: {name!r}"
            )
    if target.suffix != safetensors_files.SUFFIX:
        raise ValueError(f"`--convert` writes {safetensors_files.SUFFIX} files, got {target}")
    safetensors_files.write(target, converted(cast(Recipe, steps), read(source)))
    lines = LINES.format(source=str(source), recipe=str(recipe), target=str(target))
    return lines.strip("\n")


def _is_step(how: Any) -> bool:
    """Return whether it is what a `Recipe` says of a tensor."""
    if not isinstance(how, dict):
        return False
    step = cast(dict[str, Any], how)
    parts, plus = step.get("parts"), step.get("plus", [])
    ways = [step.get(key) for key in ("reshape", "transpose", "shape", "flip")]
    if not all(isinstance(each, list) for each in (parts, plus, *ways)) or not parts:
        return False
    reshape, transpose, shape, flip = cast(list[list[Any]], ways)
    return (
        all(_is_part(part, 2) for part in parts)
        and all(_is_part(part, 3) and type(part[2]) is int for part in plus)
        and all(type(number) is int for way in ways for number in cast(list[Any], way))
        and prod(reshape) == prod(shape)
        and sorted(transpose) == [*range(len(reshape))]
        and all(axis in range(len(shape)) for axis in flip)
    )


def _is_part(part: Any, length: int) -> bool:
    if not isinstance(part, list) or len(cast(list[Any], part)) != length:
        return False
    name, rows = cast(list[Any], part)[:2]
    return isinstance(name, str) and (rows is None or _are_rows(rows))


def _are_rows(rows: Any) -> bool:
    return isinstance(rows, list) and [type(row) for row in cast(list[Any], rows)] == [int, int]


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a checkpoint by name.

    Raises:
        ValueError: if it cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"a checkpoint must be a file, got {path}")
    if path.suffix == safetensors_files.SUFFIX:
        return {n: np.asarray(v) for n, v in safetensors_files.read(path).items()}
    return {n: to_numpy(v) for n, v in torch_files.read(path, None).items() if hasattr(v, "shape")}


def recipe_of(pair: Pair) -> Recipe:
    """Return what becomes of PyTorch's tensors in a pair's port."""
    held, names = entries(pair.jax_module), _own_names(pair.jax_module)
    shapes = {n: tuple(value.shape) for n, value in pair.torch_module.state_dict().items()}
    found: Recipe = {}
    for native, links in _by_native(pair.links).items():
        if native in names:
            links = sorted(links, key=lambda link: link.rows or (0, 0))
            found[names[native]] = _steps(pair, held[native], native, links, shapes)
    return found


def converted(recipe: Recipe, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the port's tensors by its own names.

    Raises:
        ValueError: if one of PyTorch's is missing, or has another shape.
    """
    ours: dict[str, np.ndarray] = {}
    for name, how in recipe.items():
        plus = how.get("plus", [])
        missing = [part for part, *_ in (*how["parts"], *plus) if part not in tensors]
        if missing:
            raise ValueError(f"`--convert`: the checkpoint has no {missing[0]}, needed for {name}")
        parts = [np.atleast_1d(tensors[p])[slice(*rows or [None])] for p, rows in how["parts"]]
        joint = np.concatenate(parts)
        if joint.size != prod(how["reshape"]):
            raise ValueError(
                f"`--convert`: {how['parts'][0][0]} must have {prod(how['reshape'])} values for "
                f"{name}, got {joint.size}"
            )
        for part, rows, start in plus:
            term = tensors[part][slice(*rows or [None])]
            joint[start : start + len(term)] += term
        array = joint.reshape(how["reshape"]).transpose(how["transpose"]).reshape(how["shape"])
        ours[name] = np.array(np.flip(array, how["flip"]), order="C")
    return ours


def _by_native(links: tuple[Link, ...]) -> dict[str, list[Link]]:
    found: dict[str, list[Link]] = {}
    for link in links:
        found.setdefault(link.native, []).append(link)
    return found


def _own_names(module: nnx.Module) -> dict[str, str]:
    """Return the port's own name of each native one: a path in its tree."""
    if isinstance(module, Port):
        return dict(module.own_names)
    paths = {id(v): ".".join(map(str, path)) for path, v in nnx.iter_graph(module)}
    known = {name: entry.variable for name, entry in entries(module).items()}
    return {name: paths[id(v)] for name, v in known.items() if v is not None}


def _steps(
    pair: Pair, entry: Entry, native: str, links: list[Link], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Return what becomes of the parts: their numbers are counted, and followed to the port's."""
    plus = [[x.theirs, _listed(x.their_rows), (x.rows or (0,))[0]] for x in links if x.adds]
    links = [link for link in links if not link.adds]
    numbered: dict[str, np.ndarray] = {}
    start = 0
    for link in links:
        numbers = np.zeros(shapes[link.theirs] or (1,), int)
        part = numbers[slice(*link.their_rows or (None,))]
        part[...] = np.arange(start, start + part.size).reshape(part.shape)
        numbered[link.theirs] = numbers.reshape(shapes[link.theirs])
        start += part.size
    whole = joined(links, numbered, pair.shapes)[native]
    port = pair.jax_module
    layout = port.layout(native) if isinstance(port, Port) else entry.layout
    parts = [[link.theirs, _listed(link.their_rows)] for link in links]
    more = {"plus": plus} if plus else {}
    return {
        "parts": parts,
        **more,
        **_way_to(np.asarray(layout.from_torch(whole)), links[0].reshape),
    }


def _listed(rows: Rows | None) -> list[int] | None:
    return None if rows is None else list(rows)


def _way_to(own: np.ndarray, between: tuple[int, ...] | None) -> dict[str, Any]:
    """Return how consecutive numbers are brought into this order."""
    for axes in _subsets(own.ndim):
        turned = np.flip(own, axes)
        for shape, order in _ways(own.shape, between):
            if np.array_equal(
                np.arange(own.size).reshape(shape).transpose(order).ravel(), turned.ravel()
            ):
                return {
                    "reshape": list(shape),
                    "transpose": list(order),
                    "shape": list(own.shape),
                    "flip": list(axes),
                }
    raise ValueError("`--to-port` cannot say how one of the port's tensors is laid out")


def _ways(
    own: tuple[int, ...], between: tuple[int, ...] | None
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    for order in permutations(range(len(own))):
        back = tuple(order.index(i) for i in range(len(own)))
        yield tuple(own[i] for i in order), back
    for order in () if between is None else permutations(range(len(between))):
        yield tuple(between or ()), order


def _subsets(ndim: int) -> Iterator[tuple[int, ...]]:
    for count in range(ndim + 1):
        yield from combinations(range(ndim), count)
