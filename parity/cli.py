"""The command line: ``python -m parity``."""

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

import flaxblocks
from parity.cases import CASES, SEED_CASES, Case
from parity.compare import CHECKS, compare
from parity.pairing import pair_up
from parity.photo import load_photo, photo_input
from parity.report import Report
from parity.table import print_reports

FLOAT64_CHECKS = ("names", "float64", "gradients", "statistics", "trajectory")
FLOAT32_CHECKS = ("names", "bitwise", "float32")
DTYPES = {"both": tuple(CHECKS), "float64": FLOAT64_CHECKS, "float32": FLOAT32_CHECKS}
VERSIONS = ("jax", "jaxlib", "flax", "optax", "torch", "numpy")
WIDTH = 150  # of the table where the output is no terminal


@dataclass(frozen=True)
class Job:
    """One pair to compare.

    Args:
        name: what the report calls it.
        build: makes the PyTorch and the Flax module.
        shape: shape ``(n, h, w, c)`` of the input.
    """

    name: str
    build: Callable[[], tuple[nn.Module, nnx.Module]]
    shape: tuple[int, int, int, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parity suite.

    Args:
        arguments: the command line's arguments; the process's own where absent.

    Returns:
        The exit status: 0 where everything is equal, 1 where something differs, 2 for bad input.
    """
    options = _parser().parse_args(arguments)
    try:
        checks = _checks(options)
        jobs = _jobs(options.blocks) if options.pair is None else [_user_pair(options)]
        inputs = [_inputs(job, options) for job in jobs]
        for path in (options.json, options.report):
            _check_writable(path)
        reports = list(_run(jobs, inputs, checks, options.seed))
    except (ValueError, TypeError) as error:
        print(f"parity: error: {error}", file=sys.stderr)
        return 2
    wide = None if sys.stdout.isatty() else WIDTH
    print_reports(reports, Console(width=wide))
    _write(reports, options)
    return 0 if all(report.ok for report in reports) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m parity",
        description="Check that Flax modules are the same functions as their PyTorch counterparts.",
    )
    parser.add_argument(
        "--blocks",
        metavar="PATTERN",
        help="blocks by name or pattern, separated by commas: MBConv, 'MBConv*' with variants, "
        "'*' for all (default: the tutorial's blocks)",
    )
    parser.add_argument(
        "--pair",
        nargs=2,
        metavar=("TORCH", "FLAX"),
        help="your own modules, each by a function without arguments: pkg.mod:function",
    )
    parser.add_argument("--checks", help=f"some of {','.join(CHECKS)}, separated by commas")
    parser.add_argument("--dtype", choices=DTYPES, default="both", help="precision to check in")
    parser.add_argument(
        "--image", metavar="PATH", help="a photograph, or a .npy array (n, h, w, c), as input"
    )
    parser.add_argument(
        "--size", type=int, default=33, help="height and width of --pair's input (default: 33)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights and random inputs")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write every row as JSON")
    parser.add_argument("--report", metavar="DIR", type=Path, help="write an HTML page with plots")
    return parser


def _checks(options: argparse.Namespace) -> tuple[str, ...]:
    possible = DTYPES[options.dtype]
    if options.checks is None:
        return possible
    wanted = tuple(options.checks.split(","))
    for check in wanted:
        if check not in possible:
            raise ValueError(
                f"`--checks` must be among {', '.join(possible)} with --dtype {options.dtype}, "
                f"got {check!r}{_nearest(check, possible)}"
            )
    return wanted


def _jobs(patterns: str | None) -> list[Job]:
    if patterns is None:
        return [_job(case) for case in SEED_CASES]
    names = [case.name for case in CASES]
    chosen: set[str] = set()
    for pattern in patterns.split(","):
        found = {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            raise ValueError(
                f"`--blocks`: no block is called {pattern!r}{_nearest(pattern, names)}"
            )
        chosen |= found
    return [_job(case) for case in CASES if case.name in chosen]


def _job(case: Case) -> Job:
    return Job(case.name, lambda: (case.build_torch(), case.build_flax()), case.shape)


def _user_pair(options: argparse.Namespace) -> Job:
    """Return the user's own pair, refused here if its modules do not line up."""
    torch_name, flax_name = options.pair
    modules = _called(torch_name), _called(flax_name)
    pair = pair_up(*modules)
    if not pair.lines_up:
        differences = [f"only PyTorch has {name}" for name in pair.missing]
        differences += [f"only Flax has {name}" for name in pair.unexpected]
        raise ValueError(f"`--pair`: the modules do not line up: {'; '.join(differences)}")
    if options.size < 1:
        raise ValueError(f"`--size` must be at least 1 pixel, got {options.size}")
    first = next((m for m in modules[0].modules() if isinstance(m, nn.Conv2d)), None)
    channels = 3 if first is None else first.in_channels
    name = torch_name.rpartition(":")[2]
    return Job(name, lambda: modules, (2, options.size, options.size, channels))


def _called(name: str) -> Any:
    module_name, colon, function_name = name.partition(":")
    if not colon:
        raise ValueError(f"`--pair` takes pkg.mod:function, got {name!r}")
    try:
        function = getattr(import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"`--pair`: {name!r} cannot be imported: {error}") from error
    return function()


def _inputs(job: Job, options: argparse.Namespace) -> list[np.ndarray]:
    if options.image is not None and options.image.endswith(".npy"):
        try:
            return [np.load(options.image, allow_pickle=False)]
        except OSError as error:
            raise ValueError(f"`--image` cannot be read: {error}") from error
    photo = photo_input(load_photo(options.image), job.shape)
    random = np.random.default_rng(options.seed).normal(size=job.shape).astype(np.float32)
    return [photo, random]


def _run(
    jobs: Sequence[Job], inputs: Sequence[list[np.ndarray]], checks: Sequence[str], seed: int
) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(jobs) * len(checks))
        for job, x in zip(jobs, inputs, strict=True):

            def show(check: str, name: str = job.name) -> None:
                progress.update(task, description=f"{name}: {check}", advance=1)

            yield compare(*job.build(), x, checks=checks, seed=seed, name=job.name, on_check=show)


def _check_writable(path: Path | None) -> None:
    """Refuse a place for results before the work that fills it."""
    if path is None:
        return
    parent = path.absolute().parent
    if not parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {parent}")


def _write(reports: Sequence[Report], options: argparse.Namespace) -> None:
    facts = {
        "command": shlex.join(["python", "-m", "parity", *sys.argv[1:]]),
        "versions": {"flaxblocks": flaxblocks.__version__}
        | {name: metadata.version(name) for name in VERSIONS},
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
    }
    if options.json is not None:
        data = facts | {"reports": [report.to_dict() for report in reports]}
        options.json.write_text(json.dumps(data, indent=1, allow_nan=False), encoding="utf-8")
    if options.report is not None:
        from parity.page import write_page  # matplotlib takes a second to import

        print(f"wrote {write_page(reports, options.report, facts)}")


def _nearest(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, cutoff=0.4)
    return f"; the nearest are {', '.join(near)}" if near else f"; there are {', '.join(names)}"
