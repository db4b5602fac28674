# pyright: reportUnknownMemberType=false
"""What the command line compares: blocks and networks by name, or a user's own pair."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import torch
from flax import nnx
from torch import nn

from flaxblocks import BottleNeck, create_model, list_models, model_info
from flaxblocks._base.command_line import matching
from flaxblocks._base.replacing import write_text
from flaxblocks.blocks import BasicBlock
from flaxblocks.blocks.aggregation import AggregationTree
from flaxblocks.blocks.auxiliary_head import InceptionAuxiliary
from flaxblocks.layers.bilinear_attention import BilinearAttention
from flaxblocks.models import Backbone
from flaxblocks.ops import average_pool
from flaxblocks.weights.entries import entries
from parity.cases import CASES, SEED_CASES, Case
from parity.conversion import read, recipe_of
from parity.diagnosis.name_map import find_names
from parity.sides import given
from parity.sides.calls import as_inputs
from parity.sides.flax_side import named_modules
from parity.sides.links import Link, near_to
from parity.sides.pairing import pair_up
from torch_ref.harness.passes import modules_of
from torch_ref.harness.vendors import allocate, make_network

LARGE = 30_000_000  # parameters; a comparison holds dozens of copies of them
IMAGE = (2, 65, 67, 3)  # of the networks: odd, so that every stride has a remainder
EVEN_IMAGE = (2, 64, 96, 3)
BLOCKS_IMAGE = (2, 256, 256, 3)
AUXILIARY_IMAGE = (2, 299, 299, 3)


@dataclass(frozen=True)
class Task:
    """One pair to compare."""

    torch_module: nn.Module  # the PyTorch module
    jax_module: nnx.Module  # the JAX module
    shape: tuple[int, int, int, int]  # shape ``(n, h, w, c)`` of the input
    # whose parameter names the PyTorch module uses, or which is which
    names: str | Mapping[str, Any] = "native"
    names_only: bool = False  # whether the pair is too large to be run
    inputs: Any = None  # what it is called with, in place of images of that shape
    randomize: bool = True  # whether weights are drawn


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


class _WithAuxiliary(Backbone):
    """A network that computes its auxiliary heads too when it trains, as torchvision's does."""

    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return self.forward_auxiliary(x)[0] if train else super().__call__(x)


def _networks(name: str) -> Task:
    record = model_info(name)
    architecture = record.architecture
    other = architecture.task == "classification" and architecture.auxiliary
    make = partial(_WithAuxiliary, architecture) if other else partial(create_model, name)
    ours = nnx.eval_shape(lambda: make(drop_rate=0, drop_path_rate=0, rngs=nnx.Rngs(0)))
    large = sum(p.size for p in jax.tree.leaves(nnx.state(ours, nnx.Param))) > LARGE
    theirs = make_network(record.source, record.name_at_source)
    if not large:
        allocate(theirs)
    return Task(theirs, ours, _image_for(ours), record.source, large)


def _image_for(network: nnx.Module) -> tuple[int, int, int, int]:
    """Return the shape of an image.

    It is even where averages, or the pools of a tree, drop an odd edge that others keep, of a
    size that attention over blocks of the last map divides, and of the least that InceptionV3's
    auxiliary head takes.
    """
    parts = [part for _, part in nnx.iter_modules(network)]
    if any(isinstance(part, InceptionAuxiliary) for part in parts):
        return AUXILIARY_IMAGE
    if any(isinstance(part, BilinearAttention) for part in parts):
        return BLOCKS_IMAGE
    pools = [part.pool for part in parts if isinstance(part, BottleNeck | BasicBlock)]
    trees = any(isinstance(part, AggregationTree) for part in parts)
    return EVEN_IMAGE if trees or average_pool in pools else IMAGE


def pair_job(options: argparse.Namespace) -> Jobs:
    """Return the user's own pair, as `parity.command` was asked for it.

    Raises:
        ValueError: if a function cannot be imported, makes something else, the modules do not
            line up, or a file cannot be read.
    """
    handed = [_called("--pair", name) for name in options.pair]
    if options.size < 1:
        raise ValueError(f"`--size` must be at least 1 pixel, got {options.size}")
    shape = (2, options.size, options.size + 2, _channels(handed[0]))
    random = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    inputs = None if options.input is None else as_inputs(_called("--input", options.input))
    x = random if inputs is None else inputs[0]
    try:
        modules = given.torch_side(handed[0], x), given.jax_side(handed[1], x)
    except TypeError as error:
        raise ValueError(f"`--pair`: {error}") from error
    if options.weights is not None:
        _load(modules[0], options.weights)
    known = names_of(modules, x, options.names)
    pair = pair_up(*modules, known)
    if not pair.lines_up:
        differences = [f"only PyTorch has {name}" for name in pair.missing]
        differences += [f"only JAX has {name}" for name in pair.unexpected]
        hint = "" if known != "native" else " (try `--names found`)"
        text = "; ".join(differences)
        raise ValueError(f"`--pair`: the modules do not line up{hint}: {text}")
    if options.to_port is not None:
        write_text(options.to_port, json.dumps(recipe_of(pair), indent=1) + "\n")
    task = Task(*modules, shape, known, inputs=inputs, randomize=options.weights is None)
    return {options.pair[0].rpartition(":")[2]: lambda: task}


def _load(module: nn.Module, path: Path) -> None:
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in read(path).items()}
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"`--weights` {path} does not fit: {error}") from error


def _channels(module: Any) -> int:
    """Return how many channels a module's images have."""
    parts = module.modules() if isinstance(module, nn.Module) else ()
    first = next((m for m in parts if isinstance(m, nn.Conv2d)), None)
    return 3 if first is None else first.in_channels


def names_of(modules: tuple[nn.Module, nnx.Module], x: Any, names: str) -> str | dict[str, Any]:
    """Return what `parity.compare` takes as names, from what the command line was given."""
    if names == "native":
        return names
    path = None if names == "found" else Path(names)
    if path is not None and path.exists():
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"`--names` cannot be read as JSON: {path}: {error}") from error
        _check_names(modules, path, written)
        return written
    found = find_names(*modules, x)
    text = json.dumps(found, indent=1)
    if path is None:
        print(text)
    else:
        write_text(path, f"{text}\n")
    return found


def _check_names(modules: tuple[nn.Module, nnx.Module], path: Path, written: Any) -> None:
    """Check that a file maps names that the two sides have.

    Raises:
        ValueError: if it does not.
    """
    if not isinstance(written, dict):
        raise ValueError(f"`--names` must be a JSON file with a mapping, got {path}")
    theirs = {*modules_of(modules[0]), *modules[0].state_dict(keep_vars=True)}
    ours = {*dict(named_modules(modules[1])), *entries(modules[1])}
    links = [Link.of(*item) for item in cast(dict[str, Any], written).items()]
    for link in links:
        for side, name, known in (("PyTorch", link.theirs, theirs), ("JAX", link.native, ours)):
            if name not in known:
                near = near_to(name, known)
                raise ValueError(f"`--names` {path}: {side} has nothing called {name!r}{near}")


def _called(option: str, name: str) -> Any:
    module_name, colon, function_name = name.partition(":")
    if not colon:
        raise ValueError(f"`{option}` takes pkg.mod:function, got {name!r}")
    try:
        function = getattr(import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"`{option}`: {name!r} cannot be imported: {error}") from error
    return function()
