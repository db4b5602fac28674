"""The comparison of one pair of modules."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from flax import nnx
from torch import nn

from parity.checks import meaning as checks
from parity.checks.bitwise import check_bitwise
from parity.checks.float32 import check_float32
from parity.checks.layer_errors import layer_errors
from parity.checks.trajectory import check_trajectory
from parity.diagnosis import diagnose
from parity.diagnosis.name_map import find_names
from parity.report.rows import Report, Row
from parity.sides.pairing import Pair, check_input, check_modules, pair_up
from parity.sides.runs import Runs

CHECKS: dict[str, Callable[[Runs], Iterator[Row]]] = {
    "names": checks.check_names,
    "bitwise": check_bitwise,
    "float64": checks.check_float64,
    "float32": check_float32,
    "gradients": checks.check_gradients,
    "statistics": checks.check_statistics,
    "trajectory": check_trajectory,
}
"""Every check by name, in the order they are made."""


def compare(
    torch_module: nn.Module,
    jax_module: nnx.Module,
    x: np.ndarray | Sequence[np.ndarray],
    *,
    names: str | Mapping[str, str] = "native",
    checks: Sequence[str] = tuple(CHECKS),
    randomize: bool = True,
    seed: int = 0,
    name: str | None = None,
    on_check: Callable[[str], None] | None = None,
) -> Report:
    """Run a PyTorch module and a JAX module side by side and report where they differ.

    Both modules are copied and stay as they are. Dropout and drop path are switched off.

    Args:
        torch_module: the reference, which takes NCHW.
        jax_module: the module under test, which takes NHWC.
        x: the input, ``(n, h, w, c)``, or several of them.
        names: whose parameter names PyTorch's module uses, as for `flaxblocks.load_state_dict`;
            or ``"found"``, to find out which tensor is which, see `parity.find_names`; or a
            mapping of names of modules, or of tensors, in PyTorch to such names in JAX.
        checks: which of `CHECKS` to make.
        randomize: whether to draw random weights and statistics, or keep PyTorch's own.
        seed: where random weights and targets come from.
        name: what the report calls the pair; the PyTorch class's name where absent.
        on_check: called with a check's name before it is made, to show progress.

    Returns:
        The report: `ok`, `rows`, readable when printed. Where names or shapes differ it says
        so, and nothing else is checked.

    Raises:
        TypeError: if either module is not one.
        ValueError: if an argument is out of range or the input has the wrong layout.
    """
    started = time.perf_counter()
    wanted = check_names_of_checks(checks)
    if names == "found":
        check_modules(torch_module, jax_module)
        names = find_names(torch_module, jax_module, _first(x))
    pair = pair_up(torch_module, jax_module, names)
    runs = Runs(pair, _inputs(pair, x), seed, randomize)
    if not pair.lines_up or runs.output_shapes[0] != runs.output_shapes[1]:
        wanted = ["names"]
    rows: list[Row] = []
    for check in wanted:
        if on_check is not None:
            on_check(check)
        rows += CHECKS[check](runs)
    causes = diagnose.causes(runs, rows)
    return Report(
        name or type(torch_module).__name__,
        tuple(rows),
        causes,
        pair.parameter_counts,
        time.perf_counter() - started,
        layer_errors(runs, wanted),
        pair.keys,
    )


def check_names_of_checks(checks: Sequence[str]) -> list[str]:
    """Return the checks in the order they are made.

    Raises:
        ValueError: if one is unknown.
    """
    unknown = [check for check in checks if check not in CHECKS]
    if unknown:
        raise ValueError(f"`checks` must be among {', '.join(CHECKS)}, got {unknown[0]!r}")
    return [check for check in CHECKS if check in checks]


def _first(x: Any) -> np.ndarray:
    return np.asarray(x if hasattr(x, "ndim") else next(iter(x)), np.float32)


def _inputs(pair: Pair, x: Any) -> list[np.ndarray]:
    given = [x] if hasattr(x, "ndim") else list(x)
    arrays = [np.asarray(array, np.float32) for array in given]
    if not arrays:
        raise ValueError("`x` must hold at least one input, got none")
    for array in arrays:
        check_input(pair, array)
    return arrays
