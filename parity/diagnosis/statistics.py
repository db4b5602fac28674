"""Mistakes in how normalizations move their running statistics in a train-mode step."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from parity.checks import measure
from parity.diagnosis.site import Site
from parity.trace.jax_program import JaxProgram
from parity.trace.torch_program import Operation, Program

Moved = tuple[Operation, tuple[str, ...]]
_USUAL = (0.1, 0.01, 0.001, 0.9, 0.99, 0.999, 0.0)


def moved(
    program: Program,
    values: Sequence[torch.Tensor],
    jax_program: JaxProgram,
    theirs: Mapping[str, np.ndarray],
    ours: Mapping[str, np.ndarray],
    limit: float,
) -> Iterator[Moved]:
    """Yield each normalization whose statistics end elsewhere, and the causes; none is unknown.

    Args:
        program: PyTorch's run in train mode.
        values: its tensors, with what was found so far repaired.
        jax_program: JAX's program, whose numbers may be its momentum.
        theirs: PyTorch's statistics after the step, by its own names.
        ours: JAX's, by the same names.
        limit: how far rounding alone may lead them apart.
    """
    slots = {slot: name for name, slot in program.parameters.items()}
    for operation in program.operations:
        alike = [
            o for o in program.operations if (o.path, o.kind) == (operation.path, operation.kind)
        ]
        if len(alike) > 1:
            continue  # its statistics moved more than once
        site = Site(operation, program, values, jax_program, training=True)
        if operation.kind not in ("batch_norm", "instance_norm") or not site.get("training", True):
            continue
        names = [slots.get(s, "") for s in operation.reads]
        keys = [n for end in ("running_mean", "running_var") for n in names if n.endswith(end)]
        if len(keys) != 2 or any(key not in ours for key in keys):
            continue
        start = [program.values[program.parameters[key]].numpy() for key in keys]
        wanted = [ours[key] for key in keys]
        their_own = [theirs[key] for key in keys]
        if _differ(wanted, their_own, limit):
            yield operation, _causes(site, start, wanted, their_own, limit)


def _causes(
    site: Site,
    start: Sequence[np.ndarray],
    ours: Sequence[np.ndarray],
    theirs: Sequence[np.ndarray],
    limit: float,
) -> tuple[str, ...]:
    count = site.input.numel() // site.input.shape[1]
    own = float(site.get("momentum", 0.1))
    if own == 0:
        return ()
    # What PyTorch's moved towards, with what was found so far repaired.
    mean, var = ((end - (1 - own) * begin) / own for begin, end in zip(start, theirs, strict=True))
    given = {y for n in site.numbers(0.0, 1.0, _USUAL) for y in (n, 1 - n)}
    rates = [own, *sorted(given - {own}, key=lambda rate: abs(rate - own))]
    for rate in rates:
        for factor in (1.0, (count - 1) / count):
            moved = [
                (1 - rate) * start[0] + rate * mean,
                (1 - rate) * start[1] + rate * factor * var,
            ]
            if not _differ(moved, ours, limit):
                return tuple(_words(rate, own, biased=factor < 1))
    return ()


def _words(rate: float, own: float, biased: bool) -> Iterator[str]:
    if rate == 0:
        yield "statistics: JAX does not move its running ones in train mode"
        return
    if abs(rate - own) > 1e-12:
        yield (
            f"momentum: JAX moves its statistics by {rate:.4g} (decay {1 - rate:.4g}), "
            f"PyTorch by {own:.4g} (decay {1 - own:.4g})"
        )
    if biased:
        yield ("variance bias: JAX stores the biased variance, PyTorch the unbiased one")


def _differ(first: Sequence[np.ndarray], second: Sequence[np.ndarray], limit: float) -> bool:
    return any(measure.scaled_error(a, b) > limit for a, b in zip(first, second, strict=True))
