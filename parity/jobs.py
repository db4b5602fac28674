"""What the command line compares: blocks and networks by name, or a user's own pair."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import jax
from flax import nnx
from torch import nn

from flaxblocks import BottleNeck, create_model, list_models, model_info
from flaxblocks._base.command_line import matching
from flaxblocks.blocks import BasicBlock
from flaxblocks.ops import average_pool
from parity.cases import CASES, SEED_CASES, Case
from parity.sides.pairing import pair_up
from torch_ref.harness.vendors import allocate, make_network

LARGE = 30_000_000  # parameters; a comparison holds dozens of copies of them
IMAGE = (2, 65, 67, 3)  # of the networks: odd, so that every stride has a remainder
EVEN_IMAGE = (2, 64, 96, 3)


@dataclass(frozen=True)
class Task:
    """One pair to compare."""

    torch_module: nn.Module  # the PyTorch module
    flax_module: nnx.Module  # the Flax module
    shape: tuple[int, int, int, int]  # shape ``(n, h, w, c)`` of the input
    names: str = "native"  # whose parameter names the PyTorch module uses
    names_only: bool = False  # whether the pair is too large to be run


Jobs = dict[str, Callable[[], Task]]
"""Pairs by the name that the report calls them, each made when its turn comes."""


def block_jobs(patterns: Sequence[str] | None) -> Jobs:
    """Return the blocks whose names match a pattern; the tutorial's where none is given."""
    cases = {case.name: case for case in CASES}
    names = [case.name for case in SEED_CASES]
    if patterns is not None:
        names = matching(patterns, list(cases), "--blocks", "block")
    return {name: partial(_block, cases[name]) for name in names}


def _block(case: Case) -> Task:
    return Task(case.build_torch(), case.build_flax(), case.shape)


def model_jobs(patterns: Sequence[str]) -> Jobs:
    """Return the networks whose names match a pattern.

    Raises:
        ValueError: if a pattern matches none, or one that has no other side to compare with.
    """
    names = matching(patterns, list_models(), "--models", "network")
    for name in names:
        if model_info(name).source == "native":
            raise ValueError(f"`--models`: {name} has no module at torchvision or timm: use --pair")
    return {name: partial(_networks, name) for name in names}


def _networks(name: str) -> Task:
    ours = nnx.eval_shape(
        lambda: create_model(name, drop_rate=0, drop_path_rate=0, rngs=nnx.Rngs(0))
    )
    large = sum(p.size for p in jax.tree.leaves(nnx.state(ours, nnx.Param))) > LARGE
    record = model_info(name)
    theirs = make_network(record.source, record.name_at_source)
    if not large:
        allocate(theirs)
    return Task(theirs, ours, _image_for(ours), record.source, large)


def _image_for(network: nnx.Module) -> tuple[int, int, int, int]:
    """Return the shape of an image, even where averages drop an odd edge that shortcuts keep."""
    pools = [
        part.pool
        for _, part in nnx.iter_modules(network)
        if isinstance(part, BottleNeck | BasicBlock)
    ]
    return EVEN_IMAGE if average_pool in pools else IMAGE


def pair_job(torch_name: str, flax_name: str, size: int) -> Jobs:
    """Return the user's own pair, made by two functions, each ``pkg.mod:function``.

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
    return {torch_name.rpartition(":")[2]: lambda: task}


def _called(name: str) -> Any:
    module_name, colon, function_name = name.partition(":")
    if not colon:
        raise ValueError(f"`--pair` takes pkg.mod:function, got {name!r}")
    try:
        function = getattr(import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"`--pair`: {name!r} cannot be imported: {error}") from error
    return function()
