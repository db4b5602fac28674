"""The report of an evaluation: numbers for each class, and the matrix of confusions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from flaxblocks._base.figure import WIDTH, as_svg
from flaxblocks._base.optional import required
from flaxblocks._base.page import write_page
from flaxblocks._base.replacing import write_text
from flaxblocks.train.step.confusion import precision_and_recall

MATRIX = "which class, down, is taken for which, across"
NAMED = 40  # classes whose names fit beside the picture


def write_report(
    folder: Path,
    values: Mapping[str, float],
    confusion: np.ndarray,
    classes: Sequence[str],
) -> None:
    """Write ``evaluation.json``, and ``index.html`` with the same as a page.

    Args:
        folder: where to; it is made if it does not exist.
        values: the numbers over all images.
        confusion: counts of shape ``(classes, classes)``: the class, down, the answer, across.
        classes: the classes' names.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if something cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = class_rows(confusion, classes)
    content = {**values, "classes": rows, "confusion": confusion.tolist()}
    write_text(folder / "evaluation.json", json.dumps(content, indent=1) + "\n")
    svg = as_svg(_drawn(confusion, classes), MATRIX)
    write_page(folder, "Evaluation", values, lambda c: c.print(_table(rows)), [(svg, MATRIX)], 80)


def class_rows(confusion: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return each class's name, images, precision and recall; None where there is none."""
    precision, recall = precision_and_recall(confusion)
    columns = zip(classes, confusion.sum(1), precision, recall, strict=True)
    return [
        {"name": name, "images": int(images), "precision": _or_none(p), "recall": _or_none(r)}
        for name, images, p, r in columns
    ]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="Classes", title_justify="left")
    table.add_column("class")
    for title in ("images", "precision", "recall"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        parts = (
            "" if row[part] is None else f"{row[part]:.3f}" for part in ("precision", "recall")
        )
        table.add_row(Text(row["name"]), str(row["images"]), *parts)
    return table


def _drawn(confusion: np.ndarray, classes: Sequence[str]) -> Any:
    matplotlib = required("matplotlib.figure", "matplotlib", "a picture needs")
    size = max(WIDTH, 2 + 0.25 * min(len(classes), NAMED))
    figure = matplotlib.Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    there = np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(confusion / there, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="part of the class's images")
    if len(classes) <= NAMED:
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="answer", ylabel="class", title="Confusions")
    return figure
