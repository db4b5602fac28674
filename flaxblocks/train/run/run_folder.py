# pyright: reportUnknownMemberType=false
"""The folder of a training run: settings, log, checkpoints and plot."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from flaxblocks._base.jax_internals import wait_for_processes
from flaxblocks._base.json_files import read_table
from flaxblocks._base.replacing import write_text


class RunFolder:
    """Paths of a run's files.

    Args:
        path: the folder.
        process: index of this process among those that share the folder; each has its own log.
    """

    def __init__(self, path: Path, process: int = 0):
        self.path = path
        self.process = process
        self.settings = path / "run.json"
        self.config = path / "config.toml"
        self.log = path / (f"log-{process}.jsonl" if process else "log.jsonl")
        self.tensorboard = path / "tensorboard"
        self.checkpoints = path / "checkpoints"
        self.curves = path / "curves.png"


def open_run(
    path: str | os.PathLike[str],
    settings: Mapping[str, Any],
    *,
    config: str | None = None,
    resume: bool,
) -> RunFolder:
    """Return the folder of a new run, or of one that is resumed.

    Every process checks the folder; the first one writes.

    Args:
        path: the folder; it is made if it does not exist.
        settings: what the result of the run depends on, as JSON can hold it.
        config: what ``config.toml`` is to hold; None for no such file.
        resume: whether an existing run may be resumed.

    Raises:
        OSError: if the folder cannot be made or written to.
        ValueError: if there is a run that may not be resumed, or has other settings.
    """
    folder = RunFolder(Path(path), jax.process_index())
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        new = not folder.settings.exists()
        if not new:
            _check(folder, settings, resume=resume)
        wait_for_processes("checked the folder of the run")
        if new and folder.process == 0:
            write_text(folder.settings, json.dumps(dict(settings), indent=1))
        if config is not None and folder.process == 0:
            write_text(folder.config, config)
    except OSError as error:
        raise OSError(f"the folder {path} cannot be written: {error.strerror or error}") from error
    return folder


def _check(folder: RunFolder, settings: Mapping[str, Any], *, resume: bool) -> None:
    """Raise an error where an existing run cannot be resumed."""
    if not resume:
        raise ValueError(
            f"there is a run in {folder.path} already: resume it, or choose another folder"
        )
    before = read_table(folder.settings)
    for name in sorted(before.keys() | settings.keys()):
        if before.get(name) != settings.get(name):
            raise ValueError(
                f"the run in {folder.path} was started with {name} {before.get(name)!r}, and "
                f"cannot be resumed with {settings.get(name)!r}"
            )
