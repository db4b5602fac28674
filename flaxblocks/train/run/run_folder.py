"""The folder that a run of training leaves: its settings, log, checkpoints and plot."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from flaxblocks._base.replacing import replacing


@dataclass(frozen=True)
class RunFolder:
    """Where a run's files are.

    Args:
        path: the folder.
        process: which of the processes that share it this is.
    """

    path: Path
    process: int = 0

    @property
    def settings(self) -> Path:
        """What the run was begun with, as JSON."""
        return self.path / "run.json"

    @property
    def log(self) -> Path:
        """What happened, one JSON object a line; of the images, what this process met."""
        return self.path / (f"log-{self.process}.jsonl" if self.process else "log.jsonl")

    @property
    def tensorboard(self) -> Path:
        """The folder with the same in TensorBoard's format."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """The folder with the checkpoints."""
        return self.path / "checkpoints"

    @property
    def curves(self) -> Path:
        """The plot of loss and accuracy."""
        return self.path / "curves.png"


def open_run(
    path: str | os.PathLike[str], settings: Mapping[str, Any], *, resume: bool
) -> RunFolder:
    """Return the folder of a new run, or of one that goes on.

    Of several processes each looks at the folder, and the first one writes.

    Args:
        path: the folder; it is made if it does not exist.
        settings: what the result of the run depends on, as JSON has it.
        resume: whether a run that is there may go on.

    Raises:
        OSError: if the folder cannot be made or written to.
        ValueError: if there is a run that may not go on, or was begun with other settings.
    """
    folder = RunFolder(Path(path), jax.process_index())
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        new = not folder.settings.exists()
        if not new:
            _check(folder, settings, resume=resume)
        multihost_utils.sync_global_devices("looked at the folder of the run")
        if new and folder.process == 0:
            with replacing(folder.settings) as temporary:
                temporary.write_text(json.dumps(dict(settings), indent=1), encoding="utf-8")
    except OSError as error:
        raise OSError(f"the folder {path} cannot be written: {error.strerror}") from error
    return folder


def _check(folder: RunFolder, settings: Mapping[str, Any], *, resume: bool) -> None:
    """Raise an error where a run that is there may not go on."""
    if not resume:
        raise ValueError(
            f"there is a run in {folder.path} already: resume it, or choose another folder"
        )
    before = json.loads(folder.settings.read_text(encoding="utf-8"))
    for name in sorted(before.keys() | settings.keys()):
        if before.get(name) != settings.get(name):
            raise ValueError(
                f"the run in {folder.path} was begun with {name} {before.get(name)!r}, and cannot "
                f"be resumed with {settings.get(name)!r}"
            )
