"""The page of all networks, from their records."""

from collections.abc import Iterator, Sequence

import flaxblocks as fb
from flaxblocks._base.command_line import short
from flaxblocks.models import ModelRecord

HEAD = """---
html_theme.sidebar_secondary.remove: true
---

# All networks

{count} networks, {torchvision} of torchvision's and {timm} of timm's, each compared with its
source's own module by the tests:

| paper | source | networks | with weights | parameters | first and last by size |
|---|---|---|---|---|---|
{families}

Type parts of a name, a paper or a license to search; click on
a column to sort. *Size* is that of the image in pixels, *multiply-adds*, which papers call FLOPs,
are those of one image, *top-1* is what the source published for the default weights on ImageNet's
validation images, in percent, *mean IoU* that of segmentation on COCO's, with VOC's classes.
Weights stand in the order of the source, the default first.

```{{raw}} html
<div class="searchable scrolls" role="region" aria-label="All networks" tabindex="0">
<table><thead><tr>{columns}</tr></thead><tbody>
{rows}
</tbody></table></div>
```
"""
COLUMNS = (
    "name",
    "parameters",
    "multiply-adds",
    "size",
    "top-1",
    "mean IoU",
    "weights",
    "license",
    "paper",
)


def networks_page() -> str:
    """Return the page in Markdown."""
    names = fb.list_models()
    timm = len(fb.list_models("timm/*"))
    return HEAD.format(
        count=len(names),
        torchvision=len(names) - timm,
        timm=timm,
        columns="".join(f"<th>{column}</th>" for column in COLUMNS),
        families="\n".join(_families([fb.model_info(name) for name in names])),
        rows="\n".join(_row(fb.model_info(name)) for name in names),
    )


def _families(records: Sequence[ModelRecord]) -> Iterator[str]:
    """Yield a row of the table for each paper's networks of each source."""
    families: dict[tuple[str, str], list[ModelRecord]] = {}
    for record in records:
        families.setdefault((record.paper, record.source), []).append(record)
    for (paper, source), members in sorted(families.items()):
        members.sort(key=lambda record: record.parameters or 0)
        ends = members[0], members[-1]
        sizes = " to ".join(dict.fromkeys(short(record.parameters or 0) for record in ends))
        names = " to ".join(dict.fromkeys(f"`{record.name}`" for record in ends))
        weights = sum(bool(record.weights) for record in members)
        yield f"| {paper} | {source} | {len(members)} | {weights} | {sizes} | {names} |"


def _row(record: ModelRecord) -> str:
    return f"<tr>{''.join(_cells(record))}</tr>"


def _cells(record: ModelRecord) -> Iterator[str]:
    first = record.weights[0] if record.weights else None
    yield f"<th><code>{record.name}</code></th>"
    yield _number(record.parameters, f"{record.parameters or 0:,}")
    yield _number(record.multiply_adds, short(record.multiply_adds or 0))
    yield _number(record.input_size, str(record.input_size))
    for accuracy in (None, None) if first is None else (first.top1, first.mean_iou):
        yield _number(accuracy, f"{accuracy or 0:.2f}")
    yield f"<td>{' '.join(f'<code>{weights.tag}</code>' for weights in record.weights)}</td>"
    licenses = dict.fromkeys(weights.license or "" for weights in record.weights)
    yield f"<td>{', '.join(filter(None, licenses))}</td>"
    yield f"<td>{record.paper}</td>"


def _number(value: float | None, text: str) -> str:
    return "<td></td>" if value is None else f"<td data-value='{value}'>{text}</td>"
