"""Weights in PyTorch's own files, read without running what a pickle may hold."""

import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

from flaxblocks._base.replacing import replacing
from flaxblocks.weights.arrays import enumerated
from flaxblocks.weights.pickles import Refused, asks_for, check_pickle
from flaxblocks.weights.plain_types import PLAIN

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pth.tar")

WRAPPERS = ("state_dict", "model", "state_dict_ema", "model_ema")
"""Where the training scripts of timm, torchvision and Lightning put a state dict."""

PROTOCOL = 2  # of pickles, as torch.save writes them
STORED = {
    f"{kind}Storage": size
    for size, kinds in {
        1: ("Untyped", "Bool", "Byte", "Char", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4"),
        2: ("Half", "BFloat16", "Short"),
        4: ("Float", "Int", "QInt32"),
        8: ("Double", "Long", "ComplexFloat"),
        16: ("ComplexDouble",),
    }.items()
    for kind in kinds
}
"""Bytes of a number in each kind of PyTorch's storages."""

PICKLES = 5  # before the tensors, in files from before PyTorch 1.6


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
    damaged = f"`source` is damaged or not a file of torch.save: {path}"
    try:
        mapped = zipfile.is_zipfile(path)  # files from before PyTorch 1.6 are not
        _check_archive(path) if mapped else _check_bare(path)
    except Refused as error:
        raise ValueError(f"`source` {path} {error}") from error
    except Exception as error:  # a damaged archive makes zipfile raise almost anything
        raise ValueError(damaged) from error
    try:
        with torch.serialization.safe_globals(PLAIN):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # as it makes torch.load
        asked = re.search(r"GLOBAL (\S+)", str(error))
        raise ValueError(f"`source` {path} {asks_for(asked[1])}" if asked else damaged) from error


def _check_archive(path: Path) -> None:
    """Look through a file of today's format before PyTorch reads it.

    Raises:
        Refused: if it is of another kind, or its parts are larger than the file.
        Exception: if it is damaged; or see `check_pickle`.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise Refused(
                "is TorchScript: save what torch.jit.load(path).state_dict() returns by torch.save"
            )
        parts = archive.infolist()
        packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        if packed or sum(part.file_size for part in parts) > path.stat().st_size:
            raise Refused(
                "must hold its tensors as torch.save writes them, and compresses them: save it "
                "again, if you trust it"
            )
        for part in parts:
            archive.open(part).close()  # PyTorch does not look at a part's own header where it maps
        for name in names:
            if name.endswith("/data.pkl"):
                content = BytesIO(archive.read(name))
                _check_protocol(content.getvalue()[:2])
                folder = name.removesuffix("data.pkl")
                for _, kind, key, _, length in check_pickle(content):
                    held = archive.getinfo(f"{folder}data/{key}").file_size
                    # PyTorch would take what is missing from whatever follows in the file.
                    if held != length * STORED[kind.split()[1]]:
                        raise ValueError(f"{key} is not as long as it should be")


def _check_bare(path: Path) -> None:
    """Look through a file from before PyTorch 1.6; see `_check_archive`."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        _check_protocol(content[:2])
        for _ in range(PICKLES):
            check_pickle(content)


def _check_protocol(start: bytes) -> None:
    if start[:1] == pickle.PROTO and start[1:] and start[1] != PROTOCOL:
        raise Refused(
            f"is with protocol {start[1]} of pickle, and must be with {PROTOCOL}, as torch.save "
            "writes by itself: save it again, if you trust it"
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
    entries = (
        cast("Mapping[Any, Any]", checkpoint)
        if isinstance(checkpoint, Mapping)
        else dict[Any, Any]()
    )
    kind = type(cast(object, checkpoint)).__name__
    keys = [key] if key is not None else WRAPPERS
    found = [k for k in keys if _has_tensors(entries.get(k))]
    if len(found) == 1:
        return entries[found[0]]
    if key is None and not found and _has_tensors(entries):
        return entries
    held = enumerated([str(name) for name in entries if isinstance(name, str)]) or kind
    if key is not None:
        raise ValueError(f"`key` must name a state dict in {path}, got {key!r}; it holds {held}")
    if found:
        raise ValueError(f"`key` must say which of {', '.join(found)} to take from {path}")
    raise ValueError(f"`source` must hold a state dict, {path} holds {held}; `key` can name one")


def _has_tensors(value: Any) -> bool:
    """Return whether a value maps names to tensors; it may have other entries, such as `epoch`."""
    if not isinstance(value, Mapping):
        return False
    entries = cast("Mapping[Any, Any]", value)
    return all(isinstance(name, str) for name in entries) and any(
        hasattr(item, "shape") for item in entries.values()
    )
