"""Write what timm says about its networks into their rows of `flaxblocks/models/timm.json`.

    python -m benchmarks.timm_facts results-imagenet.csv timm/mixnet_s ...

The file is timm's results/results-imagenet.csv of the version that is installed. Parameters and
multiply-adds are counted on our networks, which `tests/models/test_records.py` repeats.
"""

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_ref.harness.vendors import declare_operators

OPERATORS = declare_operators()

from timm import get_pretrained_cfg  # noqa: E402
from timm.models._registry import get_arch_pretrained_cfgs  # noqa: E402

import flaxblocks as fb  # noqa: E402
from flaxblocks.cli.networks import abstract_network, cost, count, image_shape  # noqa: E402
from flaxblocks.models.facts import NORMALIZATIONS  # noqa: E402

TABLE = Path(fb.__file__).parent / "models" / "timm.json"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("networks", nargs="+")
    options = parser.parse_args()
    with options.results.open(encoding="utf-8") as file:
        results = list(csv.DictReader(file))
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    table |= {name: _row(name, results) for name in options.networks}
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(table[name])}" for name in sorted(table))
    TABLE.write_text("{\n" + rows + "\n}\n", encoding="utf-8")


def _row(name: str, results: list[dict[str, str]]) -> dict[str, Any]:
    theirs = name.removeprefix("timm/")
    default: Any = get_pretrained_cfg(theirs)
    preprocess = fb.Preprocess.from_timm(default.to_dict())
    configs = get_arch_pretrained_cfgs(theirs)
    weights = [_weights(key, c, results) for key, c in configs.items() if c.has_weights]
    network = abstract_network(name)
    shape = image_shape(network, preprocess.crop)
    row = {"parameters": count(network), "multiply_adds": cost(network, shape)}
    return row | ({} if weights else {"preprocess": _written(preprocess)}) | {"weights": weights}


def _weights(key: str, config: Any, results: list[dict[str, str]]) -> list[Any]:
    """Return the columns of one row's weights; `facts.py` describes them."""
    file = None if config.hf_hub_id == f"timm/{key}" else config.url
    if file == "" or config.hf_hub_id not in (None, f"timm/{key}"):
        raise ValueError(f"`networks` has weights at an unusual place: {config.hf_hub_id}")
    preprocess = fb.Preprocess.from_timm(config.to_dict())
    fits = [row for row in results if row["model"] == key and _same(row, preprocess.crop, config)]
    top: tuple[Any, Any] = (
        (float(fits[0]["top1"]), float(fits[0]["top5"])) if fits else (None, None)
    )
    return [config.tag, file, _written(preprocess), config.num_classes, config.license, *top]


def _same(row: Mapping[str, str], crop: int, config: Any) -> bool:
    """Return whether timm evaluated the weights as their configuration says."""
    share = abs(float(row["crop_pct"]) - (config.crop_pct or 0.875)) < 5e-4
    return int(row["img_size"]) == crop and share and row["interpolation"] == config.interpolation


def _written(preprocess: fb.Preprocess) -> str:
    """Return the preprocessing as the table has it."""
    colors = tuple(preprocess.mean), tuple(preprocess.std)
    kind = next(name for name, known in NORMALIZATIONS.items() if known == colors)
    squash = " squash" if preprocess.squash else ""
    return f"{preprocess.resize} {preprocess.crop} {preprocess.interpolation} {kind}{squash}"


if __name__ == "__main__":
    main()
