"""The tables of `docs/export.md`, made of the result files.

python -m benchmarks.export_tables
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import flaxblocks as fb
from flaxblocks.exporting.formats import FORMATS

FOLDER = Path(__file__).parent
NETWORKS = max(FOLDER.glob("export-networks-cpu-*.json"))
SPEED = max(FOLDER.glob("onnx-speed-cpu-*.json"))
INT8 = max(FOLDER.glob("int8-cpu-*.json"))

ACCURACY = {
    "float32": "float32",
    "int8_in_jax": "int8 in JAX",
    "int8_in_onnx_runtime": "in ONNX Runtime",
    "int8_in_litert": "in LiteRT",
}


def networks(content: dict[str, Any]) -> str:
    """Return a row for each family: how many of its networks were compared, and the worst."""
    families = defaultdict(list)
    for name, row in content["networks"].items():
        source = "timm" if name.startswith("timm/") else "torchvision"
        families[source, fb.model_info(name).architecture.family].append(row)
    lines = [
        "| family | " + " | ".join(FORMATS) + " |",
        "|---|" + "---|" * len(FORMATS),
    ]
    for (source, family), rows in sorted(families.items()):
        cells = " | ".join(_worst(rows, format) for format in FORMATS)
        lines.append(f"| {source} `{family}` | {cells} |")
    return "\n".join(lines)


def _worst(rows: list[dict[str, Any]], format: str) -> str:
    found = [row[format]["difference"] for row in rows if format in row]
    return f"{len(found)}: {max(found):.1e}" if found else ""


def speed(content: dict[str, Any]) -> str:
    """Return a row for each network: milliseconds of ours and of PyTorch's export."""
    lines = ["| network | flaxblocks | PyTorch's export | ratio |", "|---|---|---|---|"]
    for name, row in sorted(content["networks"].items()):
        lines.append(f"| `{name}` | {row['ours']:.2f} | {row['torch']:.2f} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def accuracy(content: dict[str, Any]) -> str:
    """Return a row for each trained network: what part of the images is told right."""
    lines = [
        "| images | network | " + " | ".join(ACCURACY.values()) + " |",
        "|---|---|" + "---|" * len(ACCURACY),
    ]
    for data, networks in content["accuracy"].items():
        for name, row in networks.items():
            cells = " | ".join(f"{row[column]:.4f}" for column in ACCURACY)
            lines.append(f"| {row['images']} {data} | `{name}` | {cells} |")
    return "\n".join(lines)


TABLES = {
    "networks": (NETWORKS, networks),
    "onnx speed": (SPEED, speed),
    "int8 accuracy": (INT8, accuracy),
}
"""Each table's result file, and what makes the table of it, by its name on the page."""


if __name__ == "__main__":
    for file, render in TABLES.values():
        print(render(json.loads(file.read_text())), end="\n\n")
