# pyright: reportUnknownMemberType=false
"""A run of the parity suite: every pair in turn, with progress, and what is written."""

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import torch
from rich.console import Console

import flaxblocks
from flaxblocks._base.command_line import WIDTH, own_arguments, versions
from flaxblocks._base.replacing import write_text
from parity.command import split
from parity.comparison import compare
from parity.jobs import Jobs, block_jobs, model_jobs, pair_job
from parity.photo import load_photo, photo_input
from parity.report.bar import Place, bar, length
from parity.report.rows import Report
from parity.report.table import print_reports

Inputs = Callable[[tuple[int, int, int, int]], list[np.ndarray]]
PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "numpy")


def run_suite(options: argparse.Namespace, checks: Sequence[str]) -> int:
    """Run what `parity.command` was asked for; return 0, or 1 where something differs."""
    torch.set_num_threads(1)  # its pool waits by spinning, and takes XLA's cores meanwhile
    reports = list(_run(_jobs(options), _inputs(options), checks, options))
    print_reports(reports, Console(width=None if sys.stdout.isatty() else WIDTH))
    _write(reports, options)
    return 0 if all(report.ok for report in reports) else 1


def _jobs(options: argparse.Namespace) -> Jobs:
    if options.pair is not None:
        return pair_job(options)
    if options.all:
        return block_jobs(["*"]) | model_jobs(["*"])
    jobs = {} if options.models is None else model_jobs(split(options.models))
    if options.blocks is not None or not jobs:
        jobs |= block_jobs(None if options.blocks is None else split(options.blocks))
    return jobs


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
    jobs: Jobs, inputs_of: Inputs, checks: Sequence[str], options: argparse.Namespace
) -> Iterator[Report]:
    total = length(checks)
    with bar() as progress:
        task_id = progress.add_task("", total=len(jobs) * total)
        for done, (name, make) in enumerate(jobs.items()):
            at = Place(progress, task_id, name, checks, done * total)
            task = make()
            yield compare(
                task.torch_module,
                task.jax_module,
                inputs_of(task.shape) if task.inputs is None else task.inputs,
                names=task.names,
                checks=("names",) if task.names_only else checks,
                randomize=task.randomize,
                seed=options.seed,
                name=name,
                operations=options.report is not None,
                on_check=at.check,
                on_step=at.step,
            )
            progress.update(task_id, completed=(done + 1) * total)
            if task.names != "native":
                jax.clear_caches()  # networks' programs fill what a process may hold of them


def _write(reports: Sequence[Report], options: argparse.Namespace) -> None:
    facts: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "parity", *own_arguments("parity")]),
        "versions": {"flaxblocks": flaxblocks.__version__} | versions(PACKAGES),
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
    }
    if options.json is not None:
        data = facts | {"reports": [report.to_dict() for report in reports]}
        write_text(options.json, json.dumps(data, indent=1, allow_nan=False))
    if options.report is not None:
        from parity.report.page import write_page  # matplotlib takes a second to import

        print(f"wrote {write_page(reports, options.report, facts)}")
