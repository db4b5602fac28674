"""The pages are true: code runs as printed, commands are taken, names and links lead somewhere."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

import flaxblocks as fb
from flaxblocks.cli.commands import make_parser

pytestmark = pytest.mark.usefixtures("quick")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SLOW = "<!-- slow -->\n\n"
"""Stands before code that takes long; what follows on the page does without it."""


def snippets(page: Path, *, slow: bool) -> list[str]:
    """Return a page's code in Python, with or without that which takes long."""
    found = re.findall(rf"({SLOW})?```python\n(.*?)```", page.read_text(), re.DOTALL)
    return [code for mark, code in found if slow or not mark]


CASES = [
    *(pytest.param(p, False, id=p.name) for p in PAGES if snippets(p, slow=False)),
    *(
        pytest.param(p, True, id=f"{p.name}, all of it", marks=pytest.mark.slow)
        for p in PAGES
        if SLOW in p.read_text()
    ),
]


@pytest.mark.parametrize(("page", "slow"), CASES)
def test_code_runs_as_printed(page, slow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in snippets(page, slow=slow):
        exec(compile(code, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    made = [link for link in links if link.startswith("generated/")]  # with the documentation
    missing = [link for link in {*links} - {*made} if not (page.parent / link).exists()]
    assert missing == []


def test_files_named_in_the_documentation_exist():
    named = {
        path
        for page in PAGES
        for path in re.findall(
            r"`((?:flaxblocks|parity|torch_ref|tests|benchmarks)/[\w/.]+)`", page.read_text()
        )
    }
    missing = [
        path for path in named if not any((ROOT / (path + end)).exists() for end in ("", ".py"))
    ]
    assert missing == []


NAMES = {
    name: page.name
    for page in PAGES
    for name in re.findall(r"\b((?:fb|parity)(?:\.[a-zA-Z_]\w*)+)", page.read_text())
    if not name.endswith((".py", ".json"))
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_public(name):
    module, *attributes = name.split(".")
    value = import_module("flaxblocks" if module == "fb" else module)
    for attribute in attributes:
        value = getattr(value, attribute)


def test_the_first_two_commands_are_one_line_each():
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert [len(command.strip().splitlines()) for command in commands] == [1, 1]
    assert commands[0].strip().endswith("-m parity")
    assert commands[1].strip().endswith("-m pytest")


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


COMMANDS = {
    command: page.name
    for page in PAGES
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    for command in re.findall(r"^ *flaxblocks (.*)$", block.replace("\\\n", " "), re.MULTILINE)
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_what_is_printed(command):
    words = shlex.split(command.removesuffix("&").replace("...", "--data photos --out run"))
    assert make_parser().parse_args(words).command is not None


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_the_numbers_of_networks(page):
    timm = fb.list_models("timm/*")
    classifiers = len(fb.list_models(task="classification")) - len(timm)
    text = " ".join((ROOT / page).read_text().split())
    assert f"{classifiers} of torchvision's convolutional classifiers" in text
    assert f"all {len(timm)} of 23 of timm's model files" in text
