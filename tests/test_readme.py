"""README.md and docs/ are true: snippets run as printed, tables are those of result files."""

import io
import json
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

import flaxblocks as fb
from flaxblocks.bench.report.readme import grown, rendered
from flaxblocks.bench.report.results import read
from flaxblocks.cli.commands import make_parser
from parity.cases import SEED_CASES
from parity.report.rows import Report
from parity.report.table import print_reports

pytestmark = pytest.mark.usefixtures("quick")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [
    pytest.param(snippet, id=f"{page.name}: {snippet.strip().splitlines()[-1][:40]}")
    for page in PAGES
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
]
RESULTS = max((ROOT / "benchmarks").glob("parity-cpu-*.json"))


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet_runs_as_printed(snippet):
    exec(compile(snippet, "snippet", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_files_named_in_the_documentation_exist():
    named = {
        path
        for page in PAGES
        for path in re.findall(
            r"`((?:flaxblocks|parity|torch_ref|tests)/[\w/.]+)`", page.read_text()
        )
    }
    missing = [
        path for path in named if not any((ROOT / (path + end)).exists() for end in ("", ".py"))
    ]
    assert missing == []


def rendered_table() -> str:
    reports = [Report.from_dict(data) for data in json.loads(RESULTS.read_text())["reports"]]
    console = Console(file=io.StringIO(), record=True, width=150)
    print_reports(reports, console)
    lines = [line.strip() for line in console.export_text().splitlines()]
    return "\n".join(line for line in lines if line)


def test_the_parity_table_is_the_result_files():
    between = re.search(r"<!-- parity table -->(.*)<!-- end of parity table -->", README, re.DOTALL)
    assert between is not None
    shown = [line.strip() for line in between[1].strip().strip("`").splitlines() if line.strip()]
    assert "\n".join(shown) == rendered_table()


def test_the_benchmark_tables_are_the_result_files():
    _, _, rest = README.partition("<!-- benchmark table -->")
    shown, _, _ = rest.partition("<!-- end of benchmark table -->")
    files = sorted((ROOT / "benchmarks").glob("cpu-*.json"))
    newest = [file for file in files if file.name[:14] == files[-1].name[:14]]  # of one day
    assert shown.strip() == rendered(*map(read, newest))


def test_the_accelerator_tables_are_the_result_file():
    _, _, rest = README.partition("<!-- accelerator table -->")
    shown, _, _ = rest.partition("<!-- end of accelerator table -->")
    newest = max((ROOT / "benchmarks").glob("accelerator-*.json"))
    assert shown.strip() == rendered(read(newest))


def test_the_growth_table_is_the_result_file():
    _, _, rest = README.partition("<!-- growth table -->")
    shown, _, _ = rest.partition("<!-- end of growth table -->")
    newest = max((ROOT / "benchmarks").glob("scaling-cpu-*.json"))
    assert shown.strip() == grown(read(newest))


def test_the_result_file_has_every_block_and_says_how_it_was_made():
    data = json.loads(RESULTS.read_text())
    assert [report["name"] for report in data["reports"]] == [case.name for case in SEED_CASES]
    assert all(report["ok"] for report in data["reports"])
    assert data["command"].startswith("python -m parity")
    assert {"jax", "flax", "torch"} <= set(data["versions"])


def test_the_first_two_commands_are_one_line_each():
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert [len(command.strip().splitlines()) for command in commands] == [1, 1]
    assert commands[0].strip().endswith("-m parity")
    assert commands[1].strip().endswith("-m pytest")


def test_the_numbers_of_networks():
    timm = fb.list_models("timm/*")
    classifiers = len(fb.list_models(task="classification")) - len(timm)
    assert f"{classifiers} of torchvision's convolutional classifiers" in README
    assert f"And {len(timm)} of timm's" in README


COMMANDS = re.findall(r"^flaxblocks (.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_what_is_printed(command):
    assert make_parser().parse_args(shlex.split(command)).command is not None
