"""The tables that the command prints."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flaxblocks.bench.report.results import Ceilings, Results, Row, by_task
from flaxblocks.bench.report.scaling import growths
from flaxblocks.bench.report.targets import Verdict, verdicts
from flaxblocks.bench.sides.contestants import OURS

CAPTION = """\
time: median (quartiles) and least of single calls, the contestants taking turns; x ours: their
median over ours. Compilation apart. GFLOP/s: two for each multiply-add of convolutions and
products, a training step counting as three forward passes; GB/s: what these must read and write,
each once. % of what a large product and a large copy reach here; what stays in a cache may exceed
it. Memory: peak while it ran, less what was held before it was made."""


def print_results(results: Results, console: Console) -> None:
    """Print everything that was measured, then how the targets stand, then what was left out."""
    for task in by_task(results.rows):
        console.print(_table(task, results.ceilings))
    for row in results.rows:
        if row.kernels:
            console.print(_kernels(row))
    if results.rows:
        console.print(Text(CAPTION, style="dim"), soft_wrap=True)
    for growth in growths(results.rows):
        console.print(Text(str(growth)), soft_wrap=True)
    if found := list(verdicts(results.rows, results.ceilings.device)):
        console.print(_targets(found))
    console.print(Text(_machine(results)), soft_wrap=True)
    for line in results.notes:
        console.print(Text(line), soft_wrap=True)
    for line in results.refused:
        console.print(Text(line, style="bold red"), soft_wrap=True)


def three_digits(number: float) -> str:
    """Return a number with three digits: timings on a shared machine repeat no better.

    >>> three_digits(1234.5), three_digits(0.012345)
    ('1,234', '0.0123')
    """
    return f"{number:,.0f}" if number >= 100 else f"{number:#.3g}"


def _machine(results: Results) -> str:
    ceilings, facts = results.ceilings, results.facts
    return (
        f"here a large product reaches {ceilings.flops / 1e9:.0f} GFLOP/s, a large copy "
        f"{ceilings.bandwidth / 1e9:.1f} GB/s; {facts['processor']}, {facts['threads']} threads "
        f"each, load before: {facts['load before']}"
    )


def _table(task: dict[str, Row], ceilings: Ceilings) -> Table:
    ours = task[OURS.name]
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(f"{ours.subject}, {ours.mode}, batch {ours.batch}, {ours.size} pixels"),
        title_justify="left",
    )
    table.add_column("by", no_wrap=True)
    for title in ("ms", "least", "x ours", "images/s", "GFLOP/s", "%", "GB/s", "%"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("compile s", "MiB"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in task.values():
        table.add_row(*_cells(row, ours, ceilings))
    return table


def _cells(row: Row, ours: Row, ceilings: Ceilings) -> list[str | Text]:
    median, low, high, least = (
        three_digits(1e3 * value) for value in (row.seconds, row.low, row.high, row.fastest)
    )
    slower = row.seconds < ours.seconds
    return [
        row.contestant,
        f"{median} ({low}-{high})",
        least,
        Text(f"{row.seconds / ours.seconds:.2f}", "red" if slower else ""),
        three_digits(row.images_per_second),
        f"{row.flops / 1e9:.1f}",
        f"{100 * row.flops / ceilings.flops:.0f}",
        f"{row.bandwidth / 1e9:.1f}",
        f"{100 * row.bandwidth / ceilings.bandwidth:.0f}",
        f"{row.compile_seconds:.1f}",
        "-" if row.memory is None else f"{row.memory / 2**20:.0f}",
    ]


def _kernels(row: Row) -> Table:
    title = f"{row.subject}, {row.mode}, batch {row.batch}: kernels of {row.contestant}"
    table = Table(box=box.SIMPLE_HEAD, title=Text(title), title_justify="left")
    table.add_column("kernel", overflow="ellipsis", max_width=90)
    for column in ("ms", "% of the run"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, seconds in row.kernels:
        share = f"{100 * seconds / row.seconds:.1f}"
        table.add_row(Text(name), three_digits(1e3 * seconds), share)
    return table


def _targets(found: list[Verdict]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, caption="geometric means over the tasks")
    for title in ("target", "mode", "against"):
        table.add_column(title, no_wrap=True)
    for title in ("wanted", "measured", "worst", "tasks"):
        table.add_column(title, justify="right", no_wrap=True)
    for verdict in found:
        target = verdict.target
        table.add_row(
            target.name,
            target.mode,
            " or ".join(target.rivals),
            target.wanted,
            Text(f"{verdict.mean:.2f}", "green" if verdict.met else "bold red"),
            f"{verdict.worst:.2f}",
            str(verdict.tasks),
        )
    return table
