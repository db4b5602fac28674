# pyright: reportUnknownMemberType=false
"""The results as pictures; each function takes results of at least one row."""

import numpy as np
from matplotlib.figure import Figure

from flaxblocks._base.figure import WIDTH
from flaxblocks.bench.report.results import Results, Row, by_task
from flaxblocks.bench.report.scaling import series

MARKS = "os^DvP"
SMALL = 9  # points: of names that are many


def roofline(results: Results) -> Figure:
    """Draw operations in a second against operations for a byte, under the machine's ceilings."""
    figure = Figure((WIDTH, 4), layout="constrained")
    axes = figure.subplots()
    intensities = [row.flops / row.bandwidth for row in results.rows]
    x = np.geomspace(min(intensities) / 2, max(intensities) * 2)
    top = results.ceilings
    axes.plot(x, np.minimum(top.flops, x * top.bandwidth) / 1e9, "k-", label="the machine")
    for name, mark in zip(_contestants(results), MARKS, strict=False):
        rows = [row for row in results.rows if row.contestant == name]
        xs, ys = zip(*((r.flops / r.bandwidth, r.flops / 1e9) for r in rows), strict=True)
        axes.plot(xs, ys, mark, label=name, alpha=0.7)
    axes.set(xscale="log", yscale="log", xlabel="operations for a byte", ylabel="GFLOP/s")
    axes.set_title(f"Roofline: {results.ceilings.device}, {results.facts['processor']}", wrap=True)
    axes.legend(fontsize=SMALL, framealpha=0)
    return figure


def bars(results: Results) -> Figure:
    """Draw the time of every contestant at every task, with the quartiles."""
    tasks, names = list(by_task(results.rows)), _contestants(results)
    height = 0.8 / len(names)
    height_of_all = 1.5 + (0.15 * len(names) + 0.2) * len(tasks)
    figure = Figure((WIDTH, height_of_all), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(names):
        there = [(i, task[name]) for i, task in enumerate(tasks) if name in task]
        middle = np.array([1e3 * row.seconds for _, row in there])
        low = middle - [1e3 * row.low for _, row in there]
        high = [1e3 * row.high for _, row in there] - middle
        y = [i + height * (place - (len(names) - 1) / 2) for i, _ in there]
        axes.barh(y, middle, height, xerr=(low, high), label=name, error_kw={"linewidth": 0.8})
    labels = [_label(next(iter(task.values()))) for task in tasks]
    axes.set_yticks(range(len(tasks)), labels, fontsize=SMALL)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set(xscale="log", xlabel="ms, median and quartiles; less is better", ylabel="task")
    axes.set_title("Time of each task")
    figure.legend(loc="outside upper center", ncols=2, fontsize=SMALL, framealpha=0)
    return figure


def scaling(results: Results) -> Figure:
    """Draw time and memory against batch and against size."""
    figure = Figure((WIDTH, 14), layout="constrained")
    panels = figure.subplots(4).reshape(2, 2)
    texts = ("images in the batch", "height and width in pixels")
    for (time, memory), by, text in zip(panels.T, ("batch", "size"), texts, strict=True):
        found = series(results.rows, by)
        for common, rows in found.items():
            x = [getattr(row, by) for row in rows]
            time.loglog(x, [1e3 * row.seconds for row in rows], "o-", label=", ".join(common))
            memory.loglog(x, [(row.memory or np.nan) / 2**20 for row in rows], "o-")
        values = sorted({getattr(row, by) for rows in found.values() for row in rows})
        for axes, unit, quantity in ((time, "ms", "Time"), (memory, "MiB", "Memory")):
            axes.set(xlabel=text, ylabel=unit, title=f"{quantity} by {by}")
            axes.set_xticks(values, values, fontsize=SMALL)
            axes.minorticks_off()
    figure.legend(loc="outside lower center", fontsize=SMALL, framealpha=0)
    return figure


def _contestants(results: Results) -> list[str]:
    return list(dict.fromkeys(row.contestant for row in results.rows))


def _label(row: Row) -> str:
    return f"{row.subject}\n{row.mode}, batch {row.batch}, {row.size}"
