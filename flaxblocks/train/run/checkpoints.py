# pyright: reportUnknownMemberType=false
"""Checkpoints: everything that training needs to resume with the same bits."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from flaxblocks._base import checks
from flaxblocks._base.json_files import read_table
from flaxblocks._base.optional import required
from flaxblocks.train.step.state import ARRAYS, TrainState

DIGESTS = "digests.json"
"""In each checkpoint: the SHA-256 of its files, written before the checkpoint gets its name."""

DATA = "data"
"""In each checkpoint: the position in the data of each process."""

LONGEST = 200  # letters of what Orbax says about a damaged file

METADATA = 1 << 20  # bytes, generously, of a checkpoint beside its arrays


class Checkpoints:
    """The newest checkpoints of a run, one folder each, named by the step.

    A checkpoint is written in the background and gets its name when it is complete, so a process
    that is killed at any moment leaves complete ones only. It holds the state and the position in
    the data, and can be restored onto other devices, and by another number of
    processes, than it was saved from.

    Args:
        folder: the folder; it is made if it does not exist.
        keep: number of checkpoints that are kept.

    Raises:
        ImportError: if orbax-checkpoint is not installed.
        OSError: if the folder cannot be made.
        TypeError: if `keep` is not an integer.
        ValueError: if it is not positive.
    """

    def __init__(self, folder: str | os.PathLike[str], *, keep: int = 3):
        checks.positive_int("keep", keep)
        self.folder = Path(folder).absolute()
        self._orbax = required("orbax.checkpoint", "orbax-checkpoint", "checkpoints need")
        self._grain = required("grain.checkpoint", "grain", "checkpoints need")
        self._saving: int | None = None
        options = self._orbax.CheckpointManagerOptions(
            max_to_keep=keep,
            cleanup_tmp_directories=True,
            async_options=self._orbax.options.AsyncOptions(
                post_finalization_callback=self._write_digests
            ),
        )
        self._manager = self._orbax.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints, in order."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, position: dict[str, Any]) -> None:
        """Start writing a checkpoint, after waiting for the previous one.

        Args:
            state: the state, which may be consumed as soon as this returns.
            position: the position in the data, see `Feed.position`.

        Raises:
            OSError: if it cannot be written, or the previous one could not be.
        """
        self.wait()
        self._saving = int(state.step)
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + METADATA
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise self._unwritten(f"it needs {needed:,} bytes, and {free:,} are free")
        arguments = self._orbax.args.Composite(
            state=self._orbax.args.StandardSave(_arrays(state)),
            **{DATA: self._grain.CheckpointSave(_Position(position))},
        )
        try:
            self._manager.save(self._saving, args=arguments)
        except (OSError, ValueError) as error:
            raise self._unwritten(_reason(error)) from error

    def wait(self) -> None:
        """Wait until the checkpoint is written.

        Raises:
            OSError: if it cannot be.
        """
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._unwritten(_reason(error)) from error

    def restore(
        self, like: TrainState, report: Callable[[str], None]
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """Restore the newest undamaged checkpoint, and delete damaged ones that are newer.

        Args:
            like: a state of the same network and optimizer; the arrays get its sharding.
            report: is called with a sentence about each damaged checkpoint.

        Returns:
            The state and the position in the data; None where there are no checkpoints.

        Raises:
            ValueError: if all are damaged, or the newest that is not was never one of ours.
        """
        damaged: list[int] = []
        for step in reversed(self.steps()):
            reason = self._damage(step)
            if reason is None:
                for worse in damaged:
                    self._manager.delete(worse)
                return self._read(step, like)
            damaged.append(step)
            report(f"the checkpoint of step {step} is damaged ({reason}): trying the one before")
        if damaged:
            raise ValueError(f"every checkpoint in {self.folder} is damaged")
        return None

    def _read(self, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        targets = jax.tree.map(self._orbax.utils.to_shape_dtype_struct, _arrays(like))
        arguments = self._orbax.args.Composite(state=self._orbax.args.StandardRestore(targets))
        folder = self.folder / str(step)
        try:
            found = self._manager.restore(step, args=arguments)
            position = read_position(folder / DATA, jax.process_index(), jax.process_count())
        except (
            Exception
        ) as error:  # files whose digests are forged make Orbax raise almost anything
            reason = " ".join(str(error).split())[:LONGEST] or type(error).__name__
            raise ValueError(f"the checkpoint {folder} cannot be restored: {reason}") from error
        return TrainState(**found.state, graphdef=like.graphdef), position

    def _write_digests(self) -> None:
        """Write the digests of the checkpoint that is about to get its name."""
        if jax.process_index():
            return
        (folder,) = self.folder.glob(f"{self._saving}.*")
        # The files of state and position only: Orbax still adds a date to the others.
        files = (path for path in folder.glob("*/**/*") if path.is_file())
        digests = {str(path.relative_to(folder)): _digest(path) for path in files}
        (folder / DIGESTS).write_text(json.dumps(digests, indent=1), encoding="utf-8")

    def _damage(self, step: int) -> str | None:
        """Return what is wrong with a checkpoint's files, or None."""
        folder = self.folder / str(step)
        try:
            digests = read_table(folder / DIGESTS)
        except (OSError, ValueError):
            return f"{DIGESTS} cannot be read"
        held = {str(path.relative_to(folder)) for path in folder.glob("*/**/*")}
        for name, digest in digests.items():
            if name not in held or not (folder / name).is_file():
                return f"{name[:LONGEST]!r} is missing"
            if _digest(folder / name) != digest:
                return f"{name} has other content than was written"
        return None

    def _unwritten(self, reason: str) -> OSError:
        complete = [step for step in self.steps() if step != self._saving]
        newest = f"the newest is of step {complete[-1]}" if complete else "there is none yet"
        return OSError(
            f"the checkpoint of step {self._saving} cannot be written to {self.folder}: "
            f"{reason}; {newest}"
        )


class _Position:
    """A position in the data, with the method that grain's checkpoint handler calls."""

    def __init__(self, value: dict[str, Any]):
        self.value = value

    def get_state(self) -> bytes:
        return json.dumps(self.value).encode()


def read_position(folder: Path, process: int, processes: int) -> dict[str, Any]:
    """Return the position in the data that a checkpoint holds.

    Args:
        folder: of the checkpoint's positions, a file for each process that wrote it.
        process: index of this process.
        processes: how many there are now. Where there were others, all of them had taken as much
            of the data as each other.
    """
    own = folder / f"process_{process}-of-{processes}.json"
    if own.is_file():
        return _position(own)
    (first,) = folder.glob("process_0-of-*.json")
    before = int(first.stem.rpartition("-")[2])
    position = _position(first)
    return {**position, "next_index": position["next_index"] * before // processes}


def _position(path: Path) -> dict[str, Any]:
    position = read_table(path)
    checks.natural_int("next_index", position["next_index"])
    return position


def _arrays(state: TrainState) -> dict[str, Any]:
    """Return the fields of a state that hold arrays."""
    return {name: getattr(state, name) for name in ARRAYS}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    """Return why a file could not be written, which TensorStore hides in a long message."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    if code:
        return os.strerror(int(code[1]))
    return getattr(error, "strerror", None) or str(error)
