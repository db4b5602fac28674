# pyright: basic
"""Weights in `.safetensors` files, whole or in shards with an index."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from flaxblocks._base.json_files import is_beside, read_table
from flaxblocks._base.replacing import replacing
from flaxblocks.weights.arrays import enumerated, shown

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"

READABLE = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}

METADATA = {"format": "pt"}  # without it transformers refuses a file


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, read whenever NumPy asks for the array.

    The file is mapped into memory for each reading only: pages that stay mapped would count as
    memory of the process, as much again as the weights themselves.

    Args:
        path: the file.
        name: the tensor's name in it.
        shape: its shape.
    """

    path: Path
    name: str
    shape: tuple[int, ...]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        with safe_open(self.path, framework="np") as file:
            return np.asarray(file.get_tensor(self.name), dtype)


def read(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file by name, not read yet.

    Raises:
        ValueError: if the file is damaged, or has tensors of a type that NumPy has not.
    """
    try:
        with safe_open(path, framework="np") as file:
            found = {name: file.get_slice(name) for name in file.keys()}
    except SafetensorError as error:
        reason = shown(str(error), 200)  # the library quotes the file
        raise ValueError(
            f"`source` is damaged or not a safetensors file: {path} ({reason})"
        ) from error
    strange = [f"{n} ({s.get_dtype()})" for n, s in found.items() if s.get_dtype() not in READABLE]
    if strange:
        raise ValueError(
            f"`source` must hold tensors of types {sorted(READABLE)}, {path} has "
            + enumerated(strange)
        )
    return {name: StoredTensor(path, name, tuple(s.get_shape())) for name, s in found.items()}


def read_sharded(index: Path) -> dict[str, StoredTensor]:
    """Return the tensors of all the files that an index names, not read yet.

    Raises:
        FileNotFoundError: if one of the files does not exist.
        ValueError: if the index or a file is damaged, or they disagree.
    """
    places = weight_map(index)
    tensors = {}
    for shard in sorted(set(places.values())):
        path = index.parent / shard
        if not path.is_file():
            raise FileNotFoundError(
                f"`source` {index} names a file that does not exist: {shown(shard)}"
            )
        held = read(path)
        listed = {name for name, place in places.items() if place == shard}
        if held.keys() != listed:
            odd = enumerated(sorted(held.keys() ^ listed))
            raise ValueError(f"`source` {index} and {shard} disagree on where to find {odd}")
        tensors |= held
    return tensors


def weight_map(index: Path) -> dict[str, str]:
    """Return the file of each tensor, as an index says.

    Raises:
        ValueError: if the index is damaged.
    """
    try:
        places = read_table(index)["weight_map"]
    except (ValueError, KeyError) as error:
        raise ValueError(f"`source` is not an index of safetensors: {index}") from error
    if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise ValueError(f"`source` is not an index of safetensors: {index}")
    for place in places.values():
        if not is_beside(place):
            raise ValueError(
                f"`source` must name files beside it only, {index} names {shown(place)}"
            )
    return places


def write(path: Path, tensors: Mapping[str, np.ndarray], max_shard_size: int | None = None) -> Path:
    """Write one file, or as many as are needed and their index, in place of what is there.

    Args:
        path: where to. Several files are named after it: ``model.safetensors`` gives
            ``model-00001-of-00002.safetensors``, ... and ``model.safetensors.index.json``.
        tensors: arrays by name.
        max_shard_size: bytes per file; a tensor that is larger gets a file of its own.

    Returns:
        The file to load: `path`, or the index where there are several.

    Raises:
        OSError: if one of them cannot be written; what was there is unchanged.
    """
    shards = [dict(tensors)] if max_shard_size is None else _shards(tensors, max_shard_size)
    if len(shards) > 1:
        return _write_sharded(path, shards)
    with replacing(path) as temporary:
        _save(temporary, path, shards[0])
    return path


def _write_sharded(path: Path, shards: list[dict[str, np.ndarray]]) -> Path:
    stem = path.name.removesuffix(SUFFIX)
    files = {
        f"{stem}-{number:05}-of-{len(shards):05}{SUFFIX}": shard
        for number, shard in enumerate(shards, 1)
    }
    index = path.with_name(stem + INDEX_SUFFIX)
    content = {
        "metadata": {"total_size": sum(t.nbytes for shard in shards for t in shard.values())},
        "weight_map": {tensor: file for file, shard in files.items() for tensor in shard},
    }
    with ExitStack() as stack:
        # Entered first and so left last: the index appears when all that it names is there.
        temporary = stack.enter_context(replacing(index))
        temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")
        for file, shard in files.items():
            target = path.with_name(file)
            _save(stack.enter_context(replacing(target)), target, shard)
    return index


def _shards(tensors: Mapping[str, np.ndarray], limit: int) -> list[dict[str, np.ndarray]]:
    """Split the tensors, in their order, into groups of at most `limit` bytes."""
    shards, room = [{}], limit
    for name, tensor in tensors.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = limit
        shards[-1][name] = tensor
        room -= tensor.nbytes
    return shards


def _save(temporary: Path, target: Path, tensors: dict[str, np.ndarray]) -> None:
    try:
        save_file(tensors, temporary, metadata=METADATA)
    except SafetensorError as error:
        raise OSError(f"could not write {target}: {error}") from error
