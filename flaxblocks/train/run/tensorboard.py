"""The log of a run as TensorBoard's event files."""

import os

from flaxblocks._base.optional import required
from flaxblocks.train.run.json_log import Record


class TensorBoard:
    """Writes the numbers of a run for TensorBoard.

    Args:
        folder: where its files are.
        step: the step that the run is resumed from, 0 for a new run; TensorBoard ignores what
            was written for later steps.

    Raises:
        ImportError: if tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], step: int = 0):
        package = required("tensorboardX", "tensorboardX", "TensorBoard's format needs")
        self._writer = package.SummaryWriter(os.fspath(folder), purge_step=step + 1)

    def __call__(self, record: Record) -> None:
        """Write the numbers of a record."""
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, record["step"])

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
