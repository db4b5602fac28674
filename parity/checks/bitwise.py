"""The bitwise check: weights and inputs with which nothing rounds must give the same bits."""

from collections.abc import Iterator
from functools import partial

import jax
import numpy as np
from torch import nn

from parity.checks import measure
from parity.checks.tolerance import bound
from parity.report.rows import Row, label
from parity.sides import flax_side, torch_side, weights
from parity.sides.calls import Input, is_float
from parity.sides.flax_side import FlaxRun
from parity.sides.runs import Runs
from parity.sides.torch_side import TorchRun
from torch_ref.harness import passes

INPUT_BITS = (14, 11, 8, 5)  # of the dyadic inputs: the more, the more different outputs
VALUES_PER_DISTINCT = 50  # a case with fewer different outputs proves little


def check_bitwise(runs: Runs) -> Iterator[Row]:
    """Compare every intermediate bit for bit, on weights and inputs with which nothing rounds."""
    limit = bound("float32", "bitwise")
    for i in range(len(runs.inputs)):
        exact = _exact_run(runs, runs.inputs[i])
        if isinstance(exact, str):
            yield Row("bitwise", f"input {i}", 0, limit, None, exact)
            return
        theirs, ours = exact
        for path, truth, value in measure.paired(theirs.outputs, ours.outputs):
            if path in runs.apart(i):
                continue
            error = measure.scaled_error(value, truth)
            yield Row.judged("bitwise", label(path, i), error, limit)
        found = np.unique(theirs.outputs[""]).size
        needed = theirs.outputs[""].size // VALUES_PER_DISTINCT
        text = f"{found:,} different output values"
        yield Row.judged("bitwise", label("", i, "variety"), max(needed - found, 0), 0, text)


def _exact_run(runs: Runs, x: Input) -> tuple[TorchRun, FlaxRun] | str:
    """Run both sides in float32 on the longest inputs with which nothing rounds.

    Nothing rounds if PyTorch computes the same in float64; otherwise the reason is returned.
    """
    rounded = ""
    for bits in INPUT_BITS:
        short = jax.tree.map(partial(_short, bits), x)
        wide, theirs = (_dyadic_torch(runs, short, dtype) for dtype in ("float64", "float32"))
        differing = [p for p, v in wide.outputs.items() if (v != theirs.outputs[p]).any()]
        if not differing:
            return theirs, _dyadic_flax(runs, short)
        rounded = differing[0]
    return f"{label(rounded)} is not exactly representable"


def _short(bits: int, array: np.ndarray) -> np.ndarray:
    return weights.dyadic_input(array, bits) if is_float(array) else array


def _dyadic_torch(runs: Runs, x: Input, dtype: str) -> TorchRun:
    return runs.renamed(torch_side.forward(_dyadic_module(runs, dtype), x, dtype, runs.frame))


def _dyadic_flax(runs: Runs, x: Input) -> FlaxRun:
    state = runs.pair.weights(passes.state_of(_dyadic_module(runs, "float32")))
    with flax_side.precision("float32"):
        module = flax_side.with_weights(runs.pair.jax_module, state, "float32")
        return flax_side.forward(module, x, "float32")


def _dyadic_module(runs: Runs, dtype: str) -> nn.Module:
    module = passes.with_dtype(runs.start, dtype)
    weights.make_dyadic(module, np.random.default_rng(runs.seed))
    return module
