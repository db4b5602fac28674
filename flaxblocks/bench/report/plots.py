"""The results as pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from flaxblocks.bench.report.results import Results, Row, by_task
from flaxblocks.bench.report.scaling import by_batch, by_size

MARKS = "os^DvP"


def roofline(results: Results, path: Path) -> None:
    """Draw operations in a second against operations for a byte, under what the machine reaches.

    Args:
        results: with at least one row.
        path: the PNG file.
    """
    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    intensities = [row.flops / row.bandwidth for row in results.rows]
    x = np.geomspace(min(intensities) / 2, max(intensities) * 2)
    top = results.ceilings
    axes.plot(x, np.minimum(top.flops, x * top.bandwidth) / 1e9, "k-", label="the machine")
    for (name, rows), mark in zip(_by_contestant(results.rows).items(), MARKS, strict=False):
        xs, ys = zip(*((r.flops / r.bandwidth, r.flops / 1e9) for r in rows), strict=True)
        axes.plot(xs, ys, mark, label=name, alpha=0.7)
    axes.set(xscale="log", yscale="log", xlabel="operations for a byte", ylabel="GFLOP/s")
    axes.set_title(f"Under the roof: {results.facts['processor']}")
    axes.legend(fontsize=8)
    _save(figure, path)


def bars(results: Results, path: Path) -> None:
    """Draw the time of every contestant at every task, with the quartiles.

    Args:
        results: with at least one row.
        path: the PNG file.
    """
    tasks = list(by_task(results.rows))
    names = list(_by_contestant(results.rows))
    height = 0.8 / len(names)
    figure, axes = plt.subplots(
        figsize=(9, 1.5 + 0.22 * len(tasks) * len(names)), layout="constrained"
    )
    for place, name in enumerate(names):
        there = [(i, task[name]) for i, task in enumerate(tasks) if name in task]
        middle = np.array([1e3 * row.seconds for _, row in there])
        low = middle - [1e3 * row.low for _, row in there]
        high = [1e3 * row.high for _, row in there] - middle
        y = [i + height * (place - (len(names) - 1) / 2) for i, _ in there]
        axes.barh(y, middle, height, xerr=(low, high), label=name, error_kw={"linewidth": 0.8})
    labels = [_label(next(iter(task.values()))) for task in tasks]
    axes.set_yticks(range(len(tasks)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="ms, median and quartiles; less is better")
    axes.legend(fontsize=8)
    _save(figure, path)


def scaling(results: Results, path: Path) -> None:
    """Draw time and memory against batch and against size.

    Args:
        results: with what `growth.growths` finds something in.
        path: the PNG file.
    """
    figure, panels = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    _lines(panels[:, 0], by_batch(results.rows), lambda row: row.batch)
    _lines(panels[:, 1], by_size(results.rows), lambda row: row.size)
    for axes, title in zip(panels[:, 0], ("ms", "MiB"), strict=True):
        axes.set(ylabel=title)
    for axes, title in zip(panels[1], ("batch", "size in pixels"), strict=True):
        axes.set(xlabel=title)
    _save(figure, path)


def _lines(
    panels: np.ndarray, series: dict[tuple[str, ...], list[Row]], number: Callable[[Row], int]
) -> None:
    for common, group in series.items():
        x = [number(row) for row in group]
        panels[0].loglog(x, [1e3 * row.seconds for row in group], "o-", label=", ".join(common))
        panels[1].loglog(x, [(row.memory or np.nan) / 2**20 for row in group], "o-")
    if series:
        panels[0].legend(fontsize=7)


def _by_contestant(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.contestant, []).append(row)
    return found


def _label(row: Row) -> str:
    return f"{row.subject}\n{row.mode}, batch {row.batch}, {row.size}"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110)
    plt.close(figure)
