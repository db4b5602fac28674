"""What the command line compares: blocks and networks by name, or a user's own pair."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import jax
from flax import nnx
from torch import nn

from flaxblocks import BottleNeck, create_model, list_models
from flaxblocks._base.command_line import matching
from flaxblocks.blocks import BasicBlock
from flaxblocks.ops import average_pool
from parity.cases import CASES, SEED_CASES, Case
from parity.sides.pairing import pair_up
from torch_ref.harness.vendors import allocate, make_witness, vendor_of

LARGE = 30_000_000  # parameters; a comparison holds dozens of copies of them
IMAGE = (2, 65, 67, 3)  # of the networks: odd, so that every stride has a remainder
EVEN_IMAGE = (2, 64, 96, 3)


@dataclass(frozen=True)
class Task:
    """One pair to compare.

    Args:
        torch_module: the PyTorch module.
        flax_module: the Flax module.
        shape: shape ``(n, h, w, c)`` of the input.
        names: whose parameter names the PyTorch module uses.
        names_only: whether the pair is too large to be run.
    """

    torch_module: nn.Module
    flax_module: nnx.Module
    shape: tuple[int, int, int, int]
    names: str = "native"
    names_only: bool = False


@dataclass(frozen=True)
class Job:
    """A pair to compare, which is made when its turn comes.

    Args:
        name: what the report calls it.
        make: makes the pair.
    """

    name: str
    make: Callable[[], Task]


def block_jobs(patterns: Sequence[str] | None) -> list[Job]:
    """Return the blocks whose names match a pattern; the tutorial's where none is given.

    Raises:
        ValueError: if a pattern matches nothing; it offers the nearest names.
    """
    if patterns is None:
        return [_job(case) for case in SEED_CASES]
    cases = {case.name: case for case in CASES}
    return [_job(cases[name]) for name in matching(patterns, list(cases), "--blocks", "block")]


def _job(case: Case) -> Job:
    return Job(case.name, lambda: Task(case.build_torch(), case.build_flax(), case.shape))


def model_jobs(patterns: Sequence[str]) -> list[Job]:
    """Return the networks whose names match a pattern.

    Raises:
        ValueError: if a pattern matches nothing; it offers the nearest names.
    """
    names = matching(patterns, list_models(), "--models", "network")
    return [Job(name, partial(_networks, name)) for name in names]


def _networks(name: str) -> Task:
    ours = nnx.eval_shape(
        lambda: create_model(name, drop_rate=0, drop_path_rate=0, rngs=nnx.Rngs(0))
    )
    large = sum(p.size for p in jax.tree.leaves(nnx.state(ours, nnx.Param))) > LARGE
    theirs = make_witness(name)
    if not large:
        allocate(theirs)
    return Task(theirs, ours, _image_for(ours), vendor_of(name), large)


def _image_for(network: nnx.Module) -> tuple[int, int, int, int]:
    """Return the shape of an image, even where averages drop an odd edge that shortcuts keep."""
    pools = [
        part.pool
        for _, part in nnx.iter_modules(network)
        if isinstance(part, BottleNeck | BasicBlock)
    ]
    return EVEN_IMAGE if average_pool in pools else IMAGE


def pair_job(torch_name: str, flax_name: str, size: int) -> Job:
    """Return the user's own pair.

    Args:
        torch_name: the function that makes the PyTorch module, ``pkg.mod:function``.
        flax_name: the function that makes the Flax module.
        size: height of the input in pixels; it is two pixels wider.

    Raises:
        ValueError: if a function cannot be imported, makes something else, or the modules do not
            line up.
    """
    modules = _called(torch_name), _called(flax_name)
    try:
        pair = pair_up(*modules)
    except TypeError as error:
        raise ValueError(f"`--pair`: {error}") from error
    if not pair.lines_up:
        differences = [f"only PyTorch has {name}" for name in pair.missing]
        differences += [f"only Flax has {name}" for name in pair.unexpected]
        raise ValueError(f"`--pair`: the modules do not line up: {'; '.join(differences)}")
    if size < 1:
        raise ValueError(f"`--size` must be at least 1 pixel, got {size}")
    first = next((m for m in modules[0].modules() if isinstance(m, nn.Conv2d)), None)
    channels = 3 if first is None else first.in_channels
    task = Task(*modules, (2, size, size + 2, channels))
    return Job(torch_name.rpartition(":")[2], lambda: task)


def _called(name: str) -> Any:
    module_name, colon, function_name = name.partition(":")
    if not colon:
        raise ValueError(f"`--pair` takes pkg.mod:function, got {name!r}")
    try:
        function = getattr(import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"`--pair`: {name!r} cannot be imported: {error}") from error
    return function()
