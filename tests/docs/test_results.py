"""The tables and the picture in the pages are those of the result files."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import export_tables
from flaxblocks.bench.report.readme import compared, grown, rendered
from flaxblocks.bench.report.results import read
from flaxblocks.exporting.formats import FORMATS
from flaxblocks.exporting.verify import BOUNDS
from parity.cases import SEED_CASES
from parity.checks.tolerance import bound
from parity.report.rows import Report
from parity.report.table import print_reports

ROOT = Path(__file__).parents[2]
WHOLE_NETWORKS = max((ROOT / "benchmarks").glob("parity-networks-cpu-*.json"))
PARITY = max((ROOT / "benchmarks").glob("parity-cpu-*.json"))
CPU = sorted((ROOT / "benchmarks").glob("cpu-*.json"))
CPU = [file for file in CPU if file.name[:14] == CPU[-1].name[:14]]  # of one day
NETWORKS = max((ROOT / "benchmarks").glob("networks-cpu-*.json"))
AVX2 = max((ROOT / "benchmarks").glob("avx2-cpu-*.json"))
GPU = sorted((ROOT / "benchmarks").glob("accelerator-*-h100-*.json"))
SCALING = max((ROOT / "benchmarks").glob("scaling-cpu-*.json"))


def shown(page: str, table: str) -> str:
    """Return what stands between a table's two marks."""
    _, _, rest = (ROOT / page).read_text().partition(f"<!-- {table} table -->")
    text, end, _ = rest.partition(f"<!-- end of {table} table -->")
    assert end
    return text.strip()


def rendered_parity() -> str:
    reports = [Report.from_dict(data) for data in json.loads(PARITY.read_text())["reports"]]
    console = Console(file=io.StringIO(), record=True, width=150)
    print_reports(reports, console)
    lines = [line.strip() for line in console.export_text().splitlines()]
    return "\n".join(line for line in lines if line)


def test_the_parity_table_is_the_result_file():
    lines = [line.strip() for line in shown("docs/exactness.md", "parity").strip("`").splitlines()]
    assert "\n".join(line for line in lines if line) == rendered_parity()


def test_the_result_file_has_every_block_and_says_how_it_was_made():
    data = json.loads(PARITY.read_text())
    assert [report["name"] for report in data["reports"]] == [case.name for case in SEED_CASES]
    assert all(report["ok"] for report in data["reports"])
    assert data["command"].startswith("python -m parity")
    assert {"jax", "flax", "torch"} <= set(data["versions"])


def test_the_networks_of_every_check_are_equal_and_on_the_page():
    networks = json.loads(WHOLE_NETWORKS.read_text())["networks"]
    assert all(outcome["equal"] for outcome in networks.values())
    page = (ROOT / "docs/exactness.md").read_text()
    _, _, listed = page.partition("A network of each newer kind was compared in every check")
    listed, _, _ = listed.partition("##")
    assert set(re.findall(r"`((?:timm/)?[a-z0-9_]+)`", listed)) == {*networks}


@pytest.mark.parametrize(
    ("page", "table", "files", "render"),
    [
        ("README.md", "speed", (NETWORKS, *GPU), compared),
        ("docs/speed.md", "networks", (NETWORKS,), rendered),
        ("docs/speed.md", "avx2", (AVX2,), rendered),
        ("docs/speed.md", "benchmark", CPU, rendered),
        ("docs/speed.md", "accelerator", GPU, rendered),
        ("docs/speed.md", "growth", (SCALING,), grown),
    ],
)
def test_the_tables_are_the_result_files(page, table, files, render):
    assert shown(page, table) == render(*map(read, files))


@pytest.mark.parametrize("table", export_tables.TABLES)
def test_the_tables_of_exported_networks_are_the_result_files(table: str):
    file, render = export_tables.TABLES[table]
    assert shown("docs/export.md", table) == render(json.loads(file.read_text()))


def test_exported_networks_are_the_same_functions():
    for name, row in json.loads(export_tables.NETWORKS.read_text())["networks"].items():
        for result in (row[format] for format in FORMATS if format in row):
            difference = result.get("difference_from_float64", result["difference"])
            own = bound("float32", "output") * result.get("of_pytorch", 0)
            assert difference <= max(BOUNDS["float32"], own), name


def test_int8_has_the_classes_of_its_simulation_and_nearly_those_of_float32():
    for networks in json.loads(export_tables.INT8.read_text())["accuracy"].values():
        for row in networks.values():
            for runtime in ("onnx_runtime", "litert"):
                assert row[f"{runtime}_has_the_class_of_int8_in_jax"] == row["images"]
                assert row[f"{runtime}_has_the_class_of_float32"] >= 0.99 * row["images"]


def test_exported_networks_are_as_fast_as_those_of_pytorch():
    rows = json.loads(export_tables.SPEED.read_text())["networks"].values()
    assert max(row["ratio"] for row in rows) <= 1.05
