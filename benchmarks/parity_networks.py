"""Compares whole networks with torchvision's and timm's in every check, and records the outcome.

    python -m benchmarks.parity_networks --json benchmarks/parity-networks-cpu-2026-11-27.json \
        timm/hgnetv2_b0 ...

What `python -m parity --models` makes of them, in a row for each check: the quantity nearest
to its limit. The networks are added to those that the file has.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from flaxblocks._base.command_line import versions
from parity import CHECKS, Report, compare
from parity.jobs import Task, model_jobs
from parity.suite import PACKAGES


def main() -> int:
    """Run the command line; the status is 1 where a network is not the same function."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", help="by name or pattern")
    parser.add_argument("--json", type=Path, required=True, help="the result file, added to")
    parser.add_argument("--checks", nargs="+", default=tuple(CHECKS), choices=tuple(CHECKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    far: list[str] = []
    for pattern in options.networks:
        for name, make in model_jobs([pattern]).items():
            report = _compared(name, make(), options.checks)
            print(report, flush=True)
            _add(options.json, name, _outcome(report))
            far += [] if report.ok else [name]
            jax.clear_caches()
    if far:
        print("not the same function:", *far)
    return 1 if far else 0


def _compared(name: str, task: Task, checks: tuple[str, ...]) -> Report:
    return compare(
        task.torch_module,
        task.jax_module,
        np.random.default_rng(0).normal(size=task.shape).astype(np.float32),
        names=task.names,
        checks=("names",) if task.names_only else checks,
        name=name,
    )


def _outcome(report: Report) -> dict[str, Any]:
    return {
        "equal": report.ok,
        "parameters": report.parameters[1],
        "causes": list(report.causes),
        "checks": {check: _nearest(report, check) for check in report.checks},
    }


def _nearest(report: Report, check: str) -> dict[str, Any]:
    """Return the row of a check that is nearest to its limit, or that it does not apply."""
    rows = [row for row in report.of(check) if row.ok is not None]
    if not rows:
        return {"equal": None, "detail": report.of(check)[0].detail}
    row = max(rows, key=lambda row: row.value / row.limit if row.limit else float(not row.ok))
    found = {"equal": report.passed(check), "rows": len(rows), "nearest": row.quantity}
    found |= {"value": float(f"{row.value:.2g}"), "limit": float(f"{row.limit:.2g}")}
    return found | ({"detail": row.detail} if row.detail else {})


def _add(path: Path, name: str, outcome: dict[str, Any]) -> None:
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"networks": {}}
    known |= {"versions": versions(PACKAGES), "device": jax.devices()[0].device_kind}
    known["networks"] |= {name: outcome}
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
