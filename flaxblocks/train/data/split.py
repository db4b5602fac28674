"""A folder of data with a part to train on and a part to judge by."""

import os
from pathlib import Path

from flaxblocks.train.data.image_folder import class_folders
from flaxblocks.train.data.tar_shards import archives

TRAINING = ("train", "training")
VALIDATION = ("val", "valid", "validation")


def training_folders(root: str | os.PathLike[str]) -> tuple[Path, Path | None]:
    """Return the folder to train on, and the one to judge by if there is one.

    Args:
        root: a folder for each class, or archives; or ``train`` (or ``training``) and ``val``
            (or ``valid``, ``validation``) with such.

    Raises:
        ValueError: if a part is there twice, or only the one to judge by.
    """
    root = Path(root)
    train, validation = _part(root, TRAINING), _part(root, VALIDATION)
    if train is None and validation is not None:
        raise ValueError(
            f"`root` {root} must hold {' or '.join(TRAINING)} beside {validation.name}"
        )
    return (root, None) if train is None else (train, validation)


def evaluation_folder(root: str | os.PathLike[str]) -> Path:
    """Return the folder to judge by: the root itself, or the part of it that is for that.

    Args:
        root: see `training_folders`.

    Raises:
        ValueError: if that part is there twice, or only one to train on.
    """
    root = Path(root)
    train, validation = _part(root, TRAINING), _part(root, VALIDATION)
    if train is not None and validation is None:
        raise ValueError(
            f"`root` {root} must hold {', '.join(VALIDATION)} beside {train.name}; "
            f"{train} itself can be given"
        )
    return validation or root


def _part(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the folder of a part: one of folders or archives, for a class may be called train."""
    found = [root / name for name in names if _has_parts(root / name)]
    if len(found) > 1:
        raise ValueError(
            f"`root` {root} must hold one of {', '.join(path.name for path in found)}, got both"
        )
    return found[0] if found else None


def _has_parts(path: Path) -> bool:
    return path.is_dir() and bool(class_folders(path) or archives(path))
