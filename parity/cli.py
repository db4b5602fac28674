"""The command line: ``python -m parity``."""

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import jax
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import flaxblocks
from parity.compare import CHECKS, compare
from parity.jobs import Job, block_jobs, model_jobs, nearest, pair_job
from parity.photo import load_photo, photo_input
from parity.report.rows import Report
from parity.report.table import print_reports

FLOAT64_CHECKS = ("names", "float64", "gradients", "statistics", "trajectory")
FLOAT32_CHECKS = ("names", "bitwise", "float32")
DTYPES = {"both": tuple(CHECKS), "float64": FLOAT64_CHECKS, "float32": FLOAT32_CHECKS}
Inputs = Callable[[tuple[int, int, int, int]], list[np.ndarray]]
VERSIONS = ("jax", "jaxlib", "flax", "optax", "torch", "numpy")
WIDTH = 150  # of the table where the output is no terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parity suite.

    Args:
        arguments: the command line's arguments; the process's own where absent.

    Returns:
        The exit status: 0 where everything is equal, 1 where something differs, 2 for bad input.
    """
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)  # its pool waits by spinning, and takes XLA's cores meanwhile
    try:
        checks = _checks(options)
        jobs = _jobs(options)
        inputs_of = _inputs(options)
        for path in (options.json, options.report):
            _check_writable(path)
        reports = list(_run(jobs, inputs_of, checks, options.seed))
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
        nargs="+",
        metavar="PATTERN",
        help="blocks by name or pattern: MBConv, 'MBConv*' with variants, '*' for all "
        "(default: the tutorial's blocks)",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="PATTERN",
        help="networks by name or pattern, against torchvision's and timm's own: resnet18, "
        "'efficientnet*'; of the largest only names and shapes",
    )
    parser.add_argument("--all", action="store_true", help="every block and every network")
    parser.add_argument(
        "--pair",
        nargs=2,
        metavar=("TORCH", "FLAX"),
        help="your own modules, each by a function without arguments: pkg.mod:function",
    )
    parser.add_argument(
        "--checks", nargs="+", metavar="CHECK", help=f"some of {', '.join(CHECKS)} (default: all)"
    )
    parser.add_argument("--dtype", choices=DTYPES, default="both", help="precision to check in")
    parser.add_argument(
        "--image", metavar="PATH", help="a photograph, or a .npy array (n, h, w, c), as input"
    )
    parser.add_argument(
        "--size",
        type=int,
        default=33,
        help="height of --pair's input, two pixels wider (default: 33)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights and random inputs")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write every row as JSON")
    parser.add_argument("--report", metavar="DIR", type=Path, help="write an HTML page with plots")
    return parser


def _checks(options: argparse.Namespace) -> tuple[str, ...]:
    possible = DTYPES[options.dtype]
    if options.checks is None:
        return possible
    wanted = _split(options.checks)
    for check in wanted:
        if check not in possible:
            raise ValueError(
                f"`--checks` must be among {', '.join(possible)} with --dtype {options.dtype}, "
                f"got {check!r}{nearest(check, possible)}"
            )
    return wanted


def _jobs(options: argparse.Namespace) -> list[Job]:
    if options.pair is not None:
        return [pair_job(options.pair[0], options.pair[1], options.size)]
    if options.all:
        return [*block_jobs(["*"]), *model_jobs(["*"])]
    jobs = [] if options.models is None else model_jobs(_split(options.models))
    if options.blocks is not None or not jobs:
        jobs += block_jobs(None if options.blocks is None else _split(options.blocks))
    return jobs


def _split(values: Sequence[str]) -> tuple[str, ...]:
    """Return the values of an option, which commas may separate too."""
    return tuple(part for value in values for part in value.split(",") if part)


def _inputs(options: argparse.Namespace) -> Inputs:
    """Return what makes the inputs of a shape; the image is read before any work is done."""
    if options.image is not None and options.image.endswith(".npy"):
        try:
            array = np.load(options.image, allow_pickle=False)
        except OSError as error:
            raise ValueError(f"`--image` cannot be read: {error}") from error
        return lambda shape: [array]
    photo = load_photo(options.image)

    def inputs_of(shape: tuple[int, int, int, int]) -> list[np.ndarray]:
        random = np.random.default_rng(options.seed).normal(size=shape).astype(np.float32)
        return [photo_input(photo, shape), random]

    return inputs_of


def _run(
    jobs: Sequence[Job], inputs_of: Inputs, checks: Sequence[str], seed: int
) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=len(jobs) * len(checks))
        for done, job in enumerate(jobs, 1):

            def show(check: str, name: str = job.name) -> None:
                progress.update(bar, description=f"{name}: {check}", advance=1)

            task = job.make()
            yield compare(
                task.torch_module,
                task.flax_module,
                inputs_of(task.shape),
                names=task.names,
                checks=("names",) if task.names_only else checks,
                seed=seed,
                name=job.name,
                on_check=show,
            )
            progress.update(bar, completed=done * len(checks))
            if task.names != "native":
                jax.clear_caches()  # networks' programs fill what a process may hold of them


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
        from parity.report.page import write_page  # matplotlib takes a second to import

        print(f"wrote {write_page(reports, options.report, facts)}")
