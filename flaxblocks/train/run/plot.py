"""Plot loss and accuracy over the steps of a run."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flaxblocks._base.figure import WIDTH
from flaxblocks._base.optional import required
from flaxblocks._base.replacing import save_figure
from flaxblocks.train.run.json_log import Record


def plot(records: Sequence[Record], path: str | os.PathLike[str]) -> None:
    """Plot loss and accuracy, in training and in evaluation, the best evaluation marked.

    Args:
        records: a run's log, see `read_log`.
        path: the file; its suffix is the format.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    save_figure(curves(records, across=True), Path(path))


def curves(records: Sequence[Record], *, across: bool) -> Any:
    """Return the plot as a figure of matplotlib.

    Args:
        records: a run's log, see `read_log`.
        across: whether loss and accuracy stand side by side, not one below the other.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    matplotlib = required("matplotlib.figure", "matplotlib", "a plot needs")
    size, grid = ((10, 4), (1, 2)) if across else ((WIDTH, 7), (2, 1))
    figure = matplotlib.Figure(figsize=size, layout="constrained")
    for axes, quantity in zip(figure.subplots(*grid), ("loss", "accuracy"), strict=True):
        for name, style in ((quantity, "-"), (f"evaluation_{quantity}", "o-")):
            points = [(record["step"], record[name]) for record in records if name in record]
            if points:
                label = "evaluation" if name != quantity else "training"
                axes.plot(*zip(*points, strict=True), style, label=label, markersize=3)
            if points and name != quantity:
                step, value = best(points, quantity)
                text = f"best: {value:.4g} at step {step}"
                axes.plot(step, value, "*", color="black", label=text)
        axes.set(xlabel="step", ylabel=quantity, title=f"{quantity.capitalize()} over the run")
        if axes.lines:
            axes.legend(framealpha=0)
    return figure


def best(points: Sequence[tuple[int, float]], quantity: str) -> tuple[int, float]:
    """Return the step and the value of the best evaluation, the first of several."""
    sign = 1 if quantity == "loss" else -1
    return min(points, key=lambda point: (sign * point[1], point[0]))
