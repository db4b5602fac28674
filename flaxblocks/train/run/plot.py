"""Plot loss and accuracy over the steps of a run."""

import os
from collections.abc import Sequence

from flaxblocks._base.optional import required
from flaxblocks.train.run.json_log import Record


def plot(records: Sequence[Record], path: str | os.PathLike[str]) -> None:
    """Plot loss and accuracy, in training and in evaluation.

    Args:
        records: a run's log, see `read_log`.
        path: the file; its suffix is the format.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    matplotlib = required("matplotlib.figure", "matplotlib", "a plot needs")
    figure = matplotlib.Figure(figsize=(10, 4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for name, style in ((quantity, "-"), (f"evaluation_{quantity}", "o-")):
            points = [(record["step"], record[name]) for record in records if name in record]
            if points:
                label = "evaluation" if name != quantity else "training"
                axes.plot(*zip(*points, strict=True), style, label=label, markersize=3)
        axes.set(xlabel="step", ylabel=quantity)
        if axes.lines:
            axes.legend()
    figure.savefig(os.fspath(path))
