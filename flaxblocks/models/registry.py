# pyright: basic
"""The networks by name."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache

from flaxblocks.models import (
    convnext,
    densenet,
    efficientnet,
    facts,
    inception,
    mnasnet,
    mobilenet_v2,
    mobilenet_v3,
    regnet,
    resnet,
    segmentation,
    shufflenet_v2,
    squeezenet,
    timm,
    vgg,
)
from flaxblocks.models.architecture import Networks
from flaxblocks.models.record import TIMM_PREFIX, ModelRecord

TORCHVISION_TABLES = (
    resnet.NETWORKS,
    mobilenet_v2.NETWORKS,
    mobilenet_v3.NETWORKS,
    mnasnet.NETWORKS,
    efficientnet.NETWORKS,
    regnet.NETWORKS,
    convnext.NETWORKS,
    vgg.NETWORKS,
    squeezenet.NETWORKS,
    densenet.NETWORKS,
    shufflenet_v2.NETWORKS,
    inception.NETWORKS,
    segmentation.NETWORKS,
)


_own: dict[str, ModelRecord] = {}


@cache
def _built_in() -> dict[str, ModelRecord]:
    sources = (("torchvision", "", TORCHVISION_TABLES), ("timm", TIMM_PREFIX, timm.TABLES))
    return {
        record.name: record
        for source, prefix, tables in sources
        for record in _records(source, prefix, tables)
    }


def _records(source: str, prefix: str, tables: Sequence[Networks]) -> Iterator[ModelRecord]:
    """Yield a record for each network of a source: its architecture and what `facts` tells."""
    known = facts.read(source)
    for table in tables:
        for paper, networks in table.items():
            for name, architecture in networks.items():
                name = prefix + name
                yield ModelRecord(name, architecture, source, paper, **known.get(name, {}))


def records() -> dict[str, ModelRecord]:
    """Return the record of every network by name."""
    return _built_in() | _own


def model_info(name: str) -> ModelRecord:
    """Return what is known about a network: its source, paper, size and published weights.

    >>> fb.model_info("mobilenet_v2")
    mobilenet_v2  (torchvision, Sandler et al. 2018)
      3,504,872 parameters
      300,774,272 multiply-adds at 224 x 224 pixels
      IMAGENET1K_V2  224 pixels   1000 classes  top-1 72.15 %
      IMAGENET1K_V1  224 pixels   1000 classes  top-1 71.88 %

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


def check_classifies(name: str) -> None:
    """Refuse a network that does something else than to classify images.

    Raises:
        ValueError: if it does, or `name` is unknown.
    """
    task = model_info(name).task
    if task != "classification":
        raise ValueError(f"`model` must classify images here, {name} is for {task}")


def list_models(pattern: str = "*", *, weights: bool = False, task: str | None = None) -> list[str]:
    """Return the names that `create_model` knows, sorted.

    >>> fb.list_models("resnet*", weights=True)
    ['resnet101', 'resnet152', 'resnet18', 'resnet34', 'resnet50']

    Args:
        pattern: a shell-style pattern (``*``, ``?``, ``[...]``) that the names must match.
        weights: whether to return only networks with published weights.
        task: ``"classification"`` or ``"segmentation"`` for only networks that do that.

    Returns:
        The names; empty where none matches.
    """
    return sorted(
        name
        for name, record in records().items()
        if fnmatchcase(name, pattern)
        and (record.weights or not weights)
        and task in (None, record.task)
    )


def register_model(record: ModelRecord) -> None:
    """Register a network of your own, for `create_model` and everything else that takes a name.

    Registering a name again replaces the earlier record.

    >>> import dataclasses
    >>> deep = dataclasses.replace(fb.model_info("resnet18").architecture, drop_rate=0.2)
    >>> fb.register_model(fb.ModelRecord("my_resnet", deep))
    >>> fb.create_model("my_resnet", num_classes=10, rngs=nnx.Rngs(0)).head.dropout.rate
    0.2

    Args:
        record: what is known about it.

    Raises:
        TypeError: if `record` is not a `ModelRecord`.
        ValueError: if torchvision's or timm's networks include one of that name.
    """
    if not isinstance(record, ModelRecord):
        raise TypeError(f"`record` must be a ModelRecord, got {type(record).__name__}")
    if record.name in _built_in():
        raise ValueError(f"`record` must have a name of its own, {record.name!r} is taken")
    _own[record.name] = record
