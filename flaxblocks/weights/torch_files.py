"""Weights in PyTorch's own files, read without running what a pickle may hold."""

import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from flaxblocks._base.replacing import replacing
from flaxblocks.weights.arrays import enumerated
from flaxblocks.weights.plain_types import PLAIN

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pth.tar")

WRAPPERS = ("state_dict", "model", "state_dict_ema", "model_ema")
"""Where the training scripts of timm, torchvision and Lightning put a state dict."""

PROTOCOL = 2  # of pickles, as torch.save writes them


def read(path: Path, key: str | None) -> dict[str, Any]:
    """Return the tensors of a file by name, mapped into memory where PyTorch can.

    Args:
        path: what `torch.save` wrote: a state dict, or a checkpoint with one in it.
        key: where in the checkpoint the state dict is; absent, the one of `WRAPPERS` that is there.

    Raises:
        ImportError: if PyTorch is not installed.
        ValueError: if the file is damaged, of another kind, holds anything but tensors and plain
            values, or no state dict is found.
    """
    return dict(_state_dict(_load(path), key, path))


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a state dict as `torch.save` does, in place of what is there.

    Raises:
        ImportError: if PyTorch is not installed.
        OSError: if it cannot be written; what was there is unchanged.
    """
    content = as_state_dict(tensors, f"{path.suffix} files")
    with replacing(path) as temporary:
        try:
            sys.modules["torch"].save(content, temporary)
        except RuntimeError as error:
            raise OSError(f"could not write {path}: {error}") from error


def as_state_dict(tensors: Mapping[str, np.ndarray], purpose: str) -> OrderedDict[str, Any]:
    """Return arrays as PyTorch's `load_state_dict` takes them.

    Args:
        tensors: arrays by name.
        purpose: what needs PyTorch, for the error.

    Raises:
        ImportError: if PyTorch is not installed.
    """
    torch = _torch(purpose)
    content = OrderedDict((name, _tensor(torch, array)) for name, array in tensors.items())
    # torchvision's MNASNet asks which version of its layout this is; version 2 is today's.
    setattr(content, "_metadata", OrderedDict({"": {"version": 2}}))  # noqa: B010
    return content


def _tensor(torch: ModuleType, array: np.ndarray) -> Any:
    if array.dtype.name == "bfloat16":  # which torch.from_numpy does not know
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _load(path: Path) -> Any:
    torch = _torch(f"{path.suffix} files")
    _refuse_other_kinds(path)
    try:
        with torch.serialization.safe_globals(PLAIN):
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


def _refuse_other_kinds(path: Path) -> None:
    """Say what a file is that PyTorch writes, but not as `torch.save` does by itself.

    Raises:
        ValueError: if it is one.
    """
    with path.open("rb") as file:
        start = file.read(2)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("/constants.pkl") for name in names):
                raise ValueError(
                    f"`source` must be a file of torch.save, {path} is TorchScript: save what "
                    "torch.jit.load(path).state_dict() returns"
                )
            pickles = [name for name in names if name.endswith("/data.pkl")]
            start = archive.open(pickles[0]).read(2) if pickles else b""
    if start[:1] == pickle.PROTO and start[1:] and start[1] != PROTOCOL:
        raise ValueError(
            f"`source` must be pickled with protocol {PROTOCOL}, as torch.save does by itself, "
            f"{path} is with protocol {start[1]}: save it again, if you trust it"
        )


def _torch(what: str) -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{what} need PyTorch (pip install torch); .safetensors do not"
        ) from error
    return torch


def _state_dict(checkpoint: Any, key: str | None, path: Path) -> Mapping[str, Any]:
    entries = checkpoint if isinstance(checkpoint, Mapping) else {}
    keys = [key] if key is not None else WRAPPERS
    found = [k for k in keys if _has_tensors(entries.get(k))]
    if len(found) == 1:
        return entries[found[0]]
    if key is None and not found and _has_tensors(checkpoint):
        return checkpoint
    held = enumerated([str(name) for name in entries]) or type(checkpoint).__name__
    if key is not None:
        raise ValueError(f"`key` must name a state dict in {path}, got {key!r}; it holds {held}")
    if found:
        raise ValueError(f"`key` must say which of {', '.join(found)} to take from {path}")
    raise ValueError(f"`source` must hold a state dict, {path} holds {held}; `key` can name one")


def _has_tensors(value: Any) -> bool:
    """Return whether a value maps names to tensors; it may have other entries, such as `epoch`."""
    return (
        isinstance(value, Mapping)
        and all(isinstance(name, str) for name in value)
        and any(hasattr(item, "shape") for item in value.values())
    )
