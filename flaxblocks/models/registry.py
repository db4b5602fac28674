"""The networks by name."""

from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache

from flaxblocks.models import (
    convnext,
    efficientnet,
    mnasnet,
    mobilenet_v2,
    mobilenet_v3,
    regnet,
    resnet,
    timm,
)
from flaxblocks.models.record import TIMM_PREFIX, ModelRecord

TORCHVISION_TABLES = (
    resnet.NETWORKS,
    mobilenet_v2.NETWORKS,
    mobilenet_v3.NETWORKS,
    mnasnet.NETWORKS,
    efficientnet.NETWORKS,
    regnet.NETWORKS,
    convnext.NETWORKS,
)


@cache
def records() -> Mapping[str, ModelRecord]:
    """Return the record of every network by name."""
    sources = (("torchvision", "", TORCHVISION_TABLES), ("timm", TIMM_PREFIX, timm.TABLES))
    return {
        prefix + name: ModelRecord(prefix + name, architecture, source, paper)
        for source, prefix, tables in sources
        for table in tables
        for paper, networks in table.items()
        for name, architecture in networks.items()
    }


def model_info(name: str) -> ModelRecord:
    """Return what is known about a network.

    Args:
        name: one of `list_models`.

    Raises:
        ValueError: if `name` is unknown; the message lists the nearest ones.
    """
    known = records()
    if name not in known:
        nearest = get_close_matches(name, known, n=5, cutoff=0.5)
        hint = f"the nearest names are {', '.join(nearest)}" if nearest else "see list_models()"
        raise ValueError(f"`name` must be one of {len(known)} networks, got {name!r}; {hint}")
    return known[name]


def list_models(pattern: str = "*") -> list[str]:
    """Return the names that `create_model` knows, sorted.

    >>> fb.list_models("resnet*")
    ['resnet101', 'resnet152', 'resnet18', 'resnet34', 'resnet50']

    Args:
        pattern: a shell-style pattern (``*``, ``?``, ``[...]``) that the names must match.

    Returns:
        The names; empty where none matches.
    """
    return sorted(name for name in records() if fnmatchcase(name, pattern))
