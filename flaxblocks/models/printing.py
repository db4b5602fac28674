# pyright: basic
"""A network in a few lines."""

from itertools import groupby
from typing import TYPE_CHECKING

import jax
from flax import nnx

if TYPE_CHECKING:
    from flaxblocks.models.backbone import Backbone


def describe(model: "Backbone") -> str:
    """Return the network's name and number of parameters, and a line for each of its parts."""
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    lines = [f"{model.name or type(model).__name__}: {count:,} parameters"]
    stem, head = model.stem, model.head
    lines.append(f"  stem      {_kind(stem)}: {stem.out_features} features, stride {stem.stride}")
    for number, (stage, info) in enumerate(zip(model.stages, model.feature_info, strict=True)):
        parts = () if stage.downsample is None else (stage.downsample,)
        runs = [(kind, len(list(run))) for kind, run in groupby((*parts, *stage.blocks), _kind)]
        blocks = ", ".join(kind if size == 1 else f"{size} x {kind}" for kind, size in runs)
        lines.append(f"  stages.{number}  {blocks}: {info.features} features, stride {info.stride}")
    classes = "" if head.classifier is None else f", {head.classifier.out_features} classes"
    lines.append(f"  head      {_kind(head)}: {head.pooled_features} features{classes}")
    return "\n".join(lines)


def _kind(module: object) -> str:
    return type(module).__name__
