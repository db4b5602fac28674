"""The comparison of one pair of modules."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from parity.checks import meaning as checks
from parity.checks.bitwise import check_bitwise
from parity.checks.float32 import check_float32
from parity.checks.layer_errors import layer_errors
from parity.checks.trajectory import check_trajectory
from parity.diagnosis import diagnose
from parity.diagnosis.name_map import find_names
from parity.diagnosis.sentences import sentences
from parity.diagnosis.steps import steps
from parity.report.rows import Report, Row
from parity.sides import given
from parity.sides.calls import as_inputs
from parity.sides.fitting import check_fits
from parity.sides.image import check_image
from parity.sides.pairing import pair_up
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
UNKNOWN = "no likely cause found"


def compare(
    torch_module: Any,
    jax_module: Any,
    x: Any,
    *,
    names: str | Mapping[str, Any] = "native",
    checks: Sequence[str] = tuple(CHECKS),
    randomize: bool = True,
    seed: int = 0,
    name: str | None = None,
    operations: bool = False,
    on_check: Callable[[str], None] = lambda check: None,
    on_step: Callable[[str, float], None] = lambda step, done: None,
) -> Report:
    """Run a PyTorch module and a JAX module side by side and report where they differ.

    Both modules are copied and stay as they are. Dropout and drop path are switched off.

    Args:
        torch_module: the reference, which takes NCHW: a module, a function, a TorchScript or an
            exported program.
        jax_module: the network under test, which takes NHWC: a module of Flax NNX, Linen,
            Equinox or Keras, or a pair: ``(linen_module, variables)``,
            ``(equinox_module, state)``, ``(apply, params)``.
        x: the input: an array, ``(n, h, w, c)`` where it is an image; a tuple of a call's
            arguments, or a dictionary of them by name; or a list of several inputs, each of which
            is run. Integers, such as tokens, stay integers.
        names: whose parameter names PyTorch's module uses, as for `flaxblocks.load_state_dict`;
            or ``"found"``, to find out which tensor is which, see `parity.find_names`; or a
            mapping of names of modules, or of tensors, in PyTorch to such names in JAX; what it
            may say of layouts and of parts is in `parity.sides.links`.
        checks: which of `CHECKS` to make.
        randomize: whether to draw random weights and statistics, or keep PyTorch's own.
        seed: where random weights and targets come from.
        name: what the report calls the pair; the PyTorch class's name where absent.
        operations: whether to record every operation beside JAX's for the report's page, as is done
            in any case where something differs; with the check `float64`.
        on_check: called with a check's name before it is made, to show progress.
        on_step: called within a long check with what it is at, and how much of it is done, from
            0 to 1.

    Returns:
        The report: `ok`, `rows`, readable when printed. Where names or shapes differ it says
        so, and nothing else is checked.

    Raises:
        TypeError: if either side is none of these.
        ValueError: if an argument is out of range, or a side cannot be called with the input.
    """
    started = time.perf_counter()
    wanted = check_names_of_checks(checks)
    inputs = as_inputs(x)
    torch_module = given.torch_side(torch_module, inputs[0])
    jax_module = given.jax_side(jax_module, inputs[0])
    if names == "found":
        names = find_names(torch_module, jax_module, inputs[0])
    pair = pair_up(torch_module, jax_module, names)
    for each in inputs[1:]:
        check_image(torch_module, each)
        check_fits(torch_module, each)
    backward = bool({"gradients", "float32"} & {*wanted})
    runs = Runs(pair, inputs, seed, randomize, backward, on_step=on_step)
    if not pair.lines_up or runs.output_shapes[0] != runs.output_shapes[1]:
        wanted = ["names"]
    rows: list[Row] = []
    for check in wanted:
        on_check(check)
        rows += CHECKS[check](runs)
    causes = diagnose.causes(runs, rows)
    differs = any(row.ok is False for row in rows)
    shown = "float64" in wanted and (operations or differs)
    return Report(
        name or type(torch_module).__name__,
        tuple(rows),
        tuple(sentences(causes)) or ((UNKNOWN,) if differs else ()),
        pair.parameter_counts,
        time.perf_counter() - started,
        layer_errors(runs, wanted),
        pair.names,
        tuple(cause.places for cause in causes),
        tuple(steps(runs)) if shown else (),
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
