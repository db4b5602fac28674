"""The table of reports."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parity.report.rows import Report

NOT_MADE = Text("-", style="dim")
NOT_APPLICABLE = Text("n/a", style="dim")


def print_reports(reports: Sequence[Report], console: Console, details: bool = True) -> None:
    """Print the table, then what differs and why where these details are wanted."""
    console.print(_table(reports))
    for report in reports:
        if details and not report.ok:
            console.print(Text(str(report)), soft_wrap=True)
    equal = sum(report.ok for report in reports)
    by_name = sum(report.checks == ("names",) for report in reports)
    note = f", {by_name} of them by names and shapes only" if by_name else ""
    console.print(f"{equal} of {len(reports)} equal to PyTorch{note}")


def _table(reports: Sequence[Report]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="worst difference of each check, as a fraction of the value's scale",
    )
    table.add_column("module", no_wrap=True)
    for title in ("torch", "jax", "match", "bitwise", "float64", "float32 (torch's)"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("gradients", "statistics", "trajectory", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    for report in reports:
        theirs, ours = report.parameters
        table.add_row(
            Text(report.name, style="" if report.ok else "bold red"),
            f"{theirs:,}",
            f"{ours:,}",
            _yes_no(report, "names"),
            _yes_no(report, "bitwise"),
            _worst(report, "float64"),
            _worst(report, "float32"),
            _worst(report, "gradients"),
            _worst(report, "statistics"),
            _worst(report, "trajectory"),
            f"{report.seconds:.1f} s",
        )
    return table


def _yes_no(report: Report, check: str) -> Text:
    if check not in report.checks:
        return NOT_MADE
    passed = report.passed(check)
    if passed is None:
        return NOT_APPLICABLE
    return Text("yes", style="green") if passed else Text("NO", style="bold red")


def _worst(report: Report, check: str) -> Text:
    if check not in report.checks:
        return NOT_MADE
    row = report.worst(check)
    if row is None:
        return NOT_APPLICABLE
    beside = "" if row.torch_value is None else f" ({row.torch_value:.0e})"
    style = "green" if report.passed(check) else "bold red"
    return Text(f"{row.value:.0e}{beside}", style=style)
