"""Weights in PyTorch's own files, read without running what a pickle may hold."""

import argparse
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from flaxblocks._base.replacing import replacing

SUFFIXES = (".pth", ".pt", ".bin")

WRAPPERS = ("state_dict", "model", "state_dict_ema", "model_ema")
"""Where the training scripts of timm and torchvision put a state dict in a checkpoint."""

PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")
"""What `torch.compile` and data parallel training put before the names, either inside the other."""

AVERAGED = "n_averaged"  # the counter that torch's AveragedModel adds to the weights


def read(path: Path, key: str | None, needed: Iterable[str]) -> dict[str, Any]:
    """Return the tensors of a file by name, mapped into memory where PyTorch can.

    Args:
        path: what `torch.save` wrote: a state dict, or a checkpoint with one in it.
        key: where in the checkpoint the state dict is; absent, the one of `WRAPPERS` that is there.
        needed: the names that the module wants: a prefix that it has itself is left alone.

    Raises:
        ImportError: if PyTorch is not installed.
        ValueError: if the file is damaged, holds anything but tensors and plain values, or no
            state dict is found.
    """
    found = dict(_state_dict(_load(path), key, path))
    needed = tuple(needed)
    for prefix in PREFIXES:
        names = found.keys() - {AVERAGED}
        if all(n.startswith(prefix) for n in names) and not any(
            n.startswith(prefix) for n in needed
        ):
            found = {n.removeprefix(prefix): found[n] for n in names}
    return found


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a state dict as `torch.save` does, in place of what is there.

    Raises:
        ImportError: if PyTorch is not installed.
        OSError: if it cannot be written; what was there is unchanged.
    """
    torch = _torch(path)
    content = OrderedDict((name, _tensor(torch, array)) for name, array in tensors.items())
    # torchvision's MNASNet asks which version of its layout this is; version 2 is today's.
    setattr(content, "_metadata", OrderedDict({"": {"version": 2}}))  # noqa: B010
    with replacing(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            raise OSError(f"could not write {path}: {error}") from error


def _tensor(torch: ModuleType, array: np.ndarray) -> Any:
    if array.dtype.name == "bfloat16":  # which torch.from_numpy does not know
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _load(path: Path) -> Any:
    torch = _torch(path)
    try:
        # The training scripts put their command line's arguments in a checkpoint.
        with torch.serialization.safe_globals([argparse.Namespace]):
            mapped = zipfile.is_zipfile(path)  # files from before PyTorch 1.6 are not
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged file makes torch.load raise almost anything
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked:
            raise ValueError(
                f"`source` must hold tensors and plain values only, {path} asks for {asked[1]}: "
                "refused, and nothing in it was run"
            ) from error
        raise ValueError(f"`source` is damaged or not a file of torch.save: {path}") from error


def _torch(path: Path) -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path.suffix} files need PyTorch (pip install torch); .safetensors do not"
        ) from error
    return torch


def _state_dict(checkpoint: Any, key: str | None, path: Path) -> Mapping[str, Any]:
    if key is None and _is_state_dict(checkpoint):
        return checkpoint
    entries = checkpoint if isinstance(checkpoint, Mapping) else {}
    keys = [key] if key is not None else WRAPPERS
    found = [k for k in keys if _is_state_dict(entries.get(k))]
    if len(found) == 1:
        return entries[found[0]]
    held = ", ".join(map(str, entries)) or type(checkpoint).__name__
    if key is not None:
        raise ValueError(f"`key` must name a state dict in {path}, got {key!r}; it holds {held}")
    if found:
        raise ValueError(f"`key` must say which of {', '.join(found)} to take from {path}")
    raise ValueError(f"`source` must hold a state dict, {path} holds {held}; `key` can name one")


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and hasattr(item, "detach") for name, item in value.items())
    )
