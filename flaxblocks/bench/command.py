"""The command ``python -m flaxblocks.bench``, and ``flaxblocks bench``: its options."""

import argparse
import os
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flaxblocks._base.command_line import above_0, check_writable, positive, run_program, stdout
from flaxblocks.bench.sides.contestants import OURS, RIVALS, rivals
from flaxblocks.bench.tasks.suites import SUITES, Plan
from flaxblocks.bench.tasks.task import BYTES, MODES, Task

if TYPE_CHECKING:
    from flaxblocks.bench.report.results import Results

DESCRIPTION = (
    "Time networks, blocks and convolutions beside JAX's own convolutions, PyTorch and ONNX "
    "Runtime, after comparing what they answer."
)
DEVICES = ("cpu", "gpu", "tpu")
DEFAULT = ("MBConv/efficientnet-28",)
DEFAULT_AGAINST = "lax,torch"
RESULTS = Path("benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, or 2 for bad input."""
    return run_program("python -m flaxblocks.bench", DESCRIPTION, add_arguments, run, arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"such as efficientnet_b0, 'MBConv/*', 'Conv/*' (default: {DEFAULT[0]})",
    )
    parser.add_argument(
        "--suite", choices=sorted(SUITES), help="a table of tasks, in place of names"
    )
    parser.add_argument(
        "--mode", nargs="+", choices=MODES, default=["infer"], help="default: infer"
    )
    parser.add_argument("--batch", nargs="+", type=positive, default=[1], metavar="N")
    parser.add_argument(
        "--input-size", nargs="+", type=positive, default=[], metavar="PIXELS", help="of the input"
    )
    parser.add_argument(
        "--dtype", choices=sorted(BYTES), help="default: the suite's, or else float32"
    )
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument(
        "--against",
        metavar="RIVALS",
        help=f"some of {','.join(rival.name for rival in RIVALS)} (default: {DEFAULT_AGAINST}, "
        "or the suite's)",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="of each, on CPU (default: all processors)"
    )
    parser.add_argument(
        "--keep-freed-memory",
        action="store_true",
        help="in each contestant's process, as flaxblocks.keep_freed_memory does",
    )
    parser.add_argument(
        "--seconds", type=above_0, default=3.0, metavar="N", help="to time each, at each task"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="the last task of each mode alone, of a few small images: to try that all of it runs",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="write a page with plots")


def run(options: argparse.Namespace) -> None:
    """Time, print, and write what was asked for.

    Raises:
        ValueError: if an option's value is out of range, or a task was not timed.
    """
    from flaxblocks.bench.report.environment import facts
    from flaxblocks.bench.report.table import print_results
    from flaxblocks.bench.timing.run import bench

    tasks, against = _plan(options)
    if options.quick:
        tasks = _quick(tasks)
    chosen, notes = rivals(against)
    check_writable(options.json, options.plot)
    # A contestant that took all of a GPU's memory would leave the others none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # A network's weights would be in memory twice, in the program too.
    os.environ.setdefault("JAX_USE_SIMPLIFIED_JAXPR_CONSTANTS", "true")
    about = facts(tasks[0].threads, tasks[0].dtype)
    try:
        with _stopped_as_interrupted():
            results = bench(tasks, [OURS, *chosen], options.seconds, about)
    except RuntimeError as error:
        raise ValueError(f"`--device` {options.device}: {error}") from error
    results = replace(results, notes=(*notes, *results.notes))
    print_results(results, stdout())
    _write(results, options)
    if results.refused:
        raise ValueError(f"{len(results.refused)} of {len(tasks)} were not timed, see above")


@contextmanager
def _stopped_as_interrupted() -> Generator[None, None, None]:
    """Let SIGTERM, which `timeout` and schedulers send, keep what was timed as Ctrl-C does."""
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _plan(options: argparse.Namespace) -> tuple[list[Task], Sequence[str]]:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = options.threads or available or 1
    if available and threads > available:
        raise ValueError(f"`--threads` must be at most {available}, got {threads}")
    suite = SUITES.get(options.suite)
    dtype = options.dtype or (suite.dtype if suite else "float32")
    common = dtype, options.device, threads, options.keep_freed_memory
    against = options.against and [name for name in options.against.split(",") if name]
    if suite is None:
        names = tuple(options.names) or DEFAULT
        plan = Plan(names, tuple(options.mode), tuple(options.batch), tuple(options.input_size))
        return plan.tasks(*common), against or DEFAULT_AGAINST.split(",")
    if options.names:
        raise ValueError(f"`--suite` {options.suite} takes no names, got {options.names[0]}")
    tasks = [task for plan in suite.plans for task in plan.tasks(*common)]
    return tasks, against or suite.against


def _quick(tasks: Sequence[Task]) -> list[Task]:
    """Return the last task of each mode, of a few small images."""
    last = {task.mode: task for task in tasks}.values()
    return [replace(task, batch=min(task.batch, 8), size=min(task.size, 64)) for task in last]


def _write(results: "Results", options: argparse.Namespace) -> None:
    from flaxblocks.bench.report.environment import slug

    path = options.json
    if path is None and options.suite is not None and RESULTS.is_dir():
        date = results.facts["date"].partition(" ")[0]
        suffix = "" if options.suite == "standard" else f"{options.suite}-"
        path = RESULTS / f"{suffix}{slug(results.ceilings.device)}-{date}.json"
    if path is not None:
        results.write(path)
        print(f"wrote {path}")
    if options.plot is not None:
        from flaxblocks.bench.report.page import write_page  # matplotlib takes a second to import

        print(f"wrote {write_page(results, options.plot)}")
