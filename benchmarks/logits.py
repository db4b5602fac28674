"""How far networks' float64 logits are from those of torchvision's and timm's own modules.

    python -m benchmarks.logits --json benchmarks/logits-cpu-2026-11-26.json timm/mixnet_s ...

Weights and statistics are random and the same on both sides, see `tests/helpers/networks.py`. The
errors are added to those that the file has.
"""

import argparse
import json
from pathlib import Path

import jax

from parity.checks.tolerance import bound
from tests.helpers.networks import logits_error


def main() -> int:
    """Run the command line; the status is 1 where a network is not the same function."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--json", type=Path, required=True, help="the result file")
    parser.add_argument("--size", type=int, nargs=2, default=(37, 33), metavar=("HEIGHT", "WIDTH"))
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    far = []
    for name in options.networks:
        error = logits_error(name, (2, *options.size, 3))
        print(f"{name:<40} {error:.1e}", flush=True)
        _add(options.json, name, error)
        if error > bound("float64", "output"):
            far.append(name)
    if far:
        print("not the same function:", *far)
    return 1 if far else 0


def _add(path: Path, name: str, error: float) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    errors = result.pop("errors") | {name: float(f"{error:.1e}")}
    lines = [f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in result.items()]
    rows = ",\n".join(f"  {json.dumps(key)}: {errors[key]:.1e}" for key in sorted(errors))
    path.write_text(
        "{\n" + "".join(lines) + ' "errors": {\n' + rows + "\n }\n}\n", encoding="utf-8"
    )


if __name__ == "__main__":
    raise SystemExit(main())
