"""``python -m flaxblocks.bench.report.readme [--growth | --compared] FILE...``: Markdown tables."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from flaxblocks.bench.report.results import Results, Row, by_task, read
from flaxblocks.bench.report.scaling import Growth, growths
from flaxblocks.bench.report.table import three_digits
from flaxblocks.bench.report.targets import Verdict, verdicts
from flaxblocks.bench.sides.contestants import OURS
from flaxblocks.bench.tasks.subjects import subject

NATIVE = "native"
JAX = (OURS.name, NATIVE, "xla", "lax")
"""Those that are this library, with one convolution or another."""

UNITS = {
    "infer": "inference",
    "train": "training step",
    "step": "training step with its update",
    "input": "gradient of the input",
    "kernel": "gradient of the kernel",
}


def rendered(*files: Results) -> str:
    """Return the tables of targets, networks and times, in Markdown, and how they were made.

    Args:
        files: the results of one device; a task that comes again counts as it was measured last.
    """
    files = _in_order(files)
    rows = [row for task in _newest(files) for row in task.values()]
    parts = (
        "\n".join(_targets(rows, files[0].ceilings.device)),
        "\n".join(_networks(rows)),
        *map(_made, files),
        "<details><summary>Every row</summary>",
        "\n".join(_table("ms", list(by_task(rows)), _time)),
        "</details>",
    )
    return "\n\n".join(part for part in parts if part)


def grown(results: Results) -> str:
    """Return the table of how time and memory grow, in Markdown, and how it was made."""
    rows: dict[tuple[str, str, str, str, tuple[int, ...]], dict[str, Growth]] = {}
    for growth in growths(results.rows):
        task = growth.subject, growth.mode, growth.fixed, growth.by, growth.values
        rows.setdefault(task, {})[growth.contestant] = growth
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"| | from | to | {' | '.join(names)} |", f"|---|---|---|{'---|' * len(names)}"]
    for (subject_name, mode, fixed, by, values), row in rows.items():
        cells = (_exponents(row[name]) if name in row else "" for name in names)
        lines.append(
            f"| {subject_name}, {UNITS[mode]}, {fixed} | {by} {values[0]} | {values[-1]} "
            f"| {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n\n" + _made(results)


def compared(*files: Results) -> str:
    """Return a table, in Markdown, of whole networks: ours by default beside the best rival.

    Args:
        files: the results, of one device or of several; of a task that comes again on a device
            the last one counts.
    """
    places = [_where(results) for results in files]
    lines = {
        (_where(results), task[OURS.name].task): _beside_best(task, _where(results))
        for results in _in_order(files)
        for task in by_task(results.rows)
        if subject(task[OURS.name].subject).is_network
    }
    head = "| images per second | batch | flaxblocks | the best rival | |\n|---|---|---|---|---|"
    by_place = sorted(lines, key=lambda key: places.index(key[0]))
    return "\n".join((head, *(lines[key] for key in by_place)))


def _beside_best(task: dict[str, Row], where: str) -> str:
    # Files with `lax` and no `xla` were recorded when the kernels were not yet the default.
    before = "lax" in task and "xla" not in task
    ours = task.get(NATIVE, task[OURS.name]) if before else task[OURS.name]
    rival = min((task[name] for name in task if name not in JAX), key=lambda row: row.seconds)
    return (
        f"| {ours.subject}, {UNITS[ours.mode]}, {where} | {ours.batch} "
        f"| {three_digits(ours.images_per_second)} "
        f"| {three_digits(rival.images_per_second)}, {rival.contestant} "
        f"| {rival.seconds / ours.seconds:.2f} x |"
    )


def _exponents(growth: Growth) -> str:
    memory = "" if growth.memory is None else f", {growth.memory:.2f}"
    return f"{growth.time:.2f}{memory}"


def _in_order(files: Iterable[Results]) -> tuple[Results, ...]:
    return tuple(sorted(files, key=lambda results: results.facts["date"]))


def _newest(files: Sequence[Results]) -> Iterable[dict[str, Row]]:
    """Return the latest measurement of each task, in the order of the first."""
    tasks: dict[tuple[str, str, int, int], dict[str, Row]] = {}
    for results in files:
        tasks |= {task[OURS.name].task: task for task in by_task(results.rows)}
    return tasks.values()


def _targets(rows: Sequence[Row], device: str) -> Iterator[str]:
    """Yield a line for each target: the mean and the worst task of each contestant of ours."""
    names = [name for name in (OURS.name, NATIVE) if any(row.contestant == name for row in rows)]
    stands = {name: {v.target: v for v in verdicts(rows, device, name)} for name in names}
    yield f"| | against | wanted | {' | '.join(names)} |"
    yield f"|---|---|---|{'---|' * len(names)}"
    for target in stands[OURS.name]:
        cells = (_stands(stands[name][target]) if target in stands[name] else "" for name in names)
        yield (
            f"| {target.name}, {UNITS[target.mode]} | {' or '.join(target.rivals)} "
            f"| {target.wanted} "
            f"| {' | '.join(cells)} |"
        )


def _stands(verdict: Verdict) -> str:
    missed = "" if verdict.met else ", missed"
    return f"{three_digits(verdict.mean)} ({three_digits(verdict.worst)}{missed})"


def _networks(rows: Sequence[Row]) -> Iterator[str]:
    """Yield images per second and peak memory of whole networks."""
    tasks = [task for task in by_task(rows) if subject(task[OURS.name].subject).is_network]
    if tasks:
        yield from _table("images/s (MiB)", tasks, _rate)


def _rate(row: Row, ours: Row) -> str:
    rate = three_digits(row.images_per_second)
    return rate if row.memory is None else f"{rate} ({row.memory / 2**20:.0f})"


def _table(
    title: str, tasks: Sequence[dict[str, Row]], cell: Callable[[Row, Row], str]
) -> Iterator[str]:
    """Yield a line for each task, with a cell for each contestant."""
    names = list(dict.fromkeys(name for task in tasks for name in task))
    yield f"| {title} | batch | {' | '.join(names)} |"
    yield f"|---|---|{'---|' * len(names)}"
    for task in tasks:
        ours = task[OURS.name]
        cells = (cell(task[name], ours) if name in task else "" for name in names)
        yield f"| {ours.subject}, {UNITS[ours.mode]} | {ours.batch} | {' | '.join(cells)} |"


def _time(row: Row, ours: Row) -> str:
    time = three_digits(1e3 * row.seconds)
    return time if row is ours else f"{time} ({three_digits(row.seconds / ours.seconds)}x)"


def _made(results: Results) -> str:
    facts, ceilings = results.facts, results.ceilings
    command = " ".join([*(f"{k}={v}" for k, v in facts["environment"].items()), facts["command"]])
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    dtype, date = facts.get("dtype", "float32"), facts["date"]
    return (
        f"{_where(results)}, {dtype}, {date}; {versions}. A large product reaches "
        f"{ceilings.flops / 1e9:.0f} GFLOP/s, a large copy {ceilings.bandwidth / 1e9:.1f} GB/s. "
        f"Made by `{command}`."
    )


def _where(results: Results) -> str:
    facts, device = results.facts, results.ceilings.device
    on_cpu = f"{facts['processor']}, {facts['threads']} threads each"
    return on_cpu if device == "cpu" else device


if __name__ == "__main__":
    tables = {"--growth": grown, "--compared": compared}
    table = tables.get(sys.argv[1], rendered)
    paths = sys.argv[1:] if table is rendered else sys.argv[2:]
    print(table(*(read(Path(path)) for path in paths)))
