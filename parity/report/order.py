"""The order of a track: modules and operations along the data."""

from collections.abc import Iterator, Sequence

from parity.report.rows import WHOLE, Report, Row, Step

_END = " (eval, input 0)"
Layer = tuple[str, Row, Step | None]
"""A module's path, its row of the float64 check, and its only operation where it has one."""


def along_the_data(report: Report) -> Iterator[Layer | Step]:
    """Yield a report's modules, each after its last operation, and the operations between them."""
    layers = [
        (row.quantity.removesuffix(_END), row)
        for row in report.of("float64")
        if row.quantity.endswith(_END)
    ]
    alone = {path: _only(path, report.operations) for path, _ in layers}
    ends = list(_ends([path for path, _ in layers], report.operations))
    order = sorted(range(len(layers)), key=lambda i: ends[i])
    merged = {id(step) for step in alone.values() if step is not None}
    for n in range(-1, len(report.operations)):
        if n >= 0 and id(report.operations[n]) not in merged:
            yield report.operations[n]
        for i in order:
            if ends[i] == n:
                path, row = layers[i]
                yield path, row, alone[path]


def _only(path: str, steps: Sequence[Step]) -> Step | None:
    inside = [step for step in steps if _is_inside(step.ours, path)]
    return inside[0] if len(inside) == 1 and inside[0].ours == path else None


def _ends(paths: Sequence[str], steps: Sequence[Step]) -> Iterator[int]:
    """Yield the number of each module's last operation; without one, that of the module before."""
    last: dict[str, int] = {}
    for n, step in enumerate(steps):
        path = step.ours
        while path:
            last[path] = n
            path = path.rpartition(".")[0]
    before = -1
    for path in paths:
        before = len(steps) - 1 if path == WHOLE else last.get(path, before)
        yield before


def _is_inside(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")
