"""Imports run one way: the rule of the house, held by reading every file's imports."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import flaxblocks

ROOT = Path(__file__).parent.parent
ROOT_PACKAGE = "flaxblocks"  # its __init__: the public names, which only what uses them all imports
ORDER = (  # each may import what stands in an earlier line, nothing beside or after it
    ("_base",),
    ("ops",),
    ("layers",),
    ("blocks",),
    ("imagenet", "preprocess"),
    ("models",),
    ("inference", "flops", "weights"),
    ("create",),
    ("train", "exporting"),
    ("_public",),
    (ROOT_PACKAGE, "torch_ref"),
    ("parity",),
    ("bench",),
    ("cli",),
    ("__main__",),
)
LINE = {part: line for line, parts in enumerate(ORDER) for part in parts}
PACKAGES = ("flaxblocks", "torch_ref", "parity")
TORCH = ("torch", "torchvision", "timm")
JAX = ("jax", "jaxlib", "flax")


@dataclass(frozen=True)
class Import:
    """One imported module, with its dots resolved.

    `at_load` says whether it runs when the file is imported, not only inside a function or for
    the type checker.
    """

    module: str
    line: int
    at_load: bool


def imports(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """Yield what a file imports, `module` being its own dotted name."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    yield from _imports(ast.parse(source), package, at_load=True)


def _imports(node: ast.AST, package: list[str], at_load: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, at_load) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        base = [*base, *filter(None, [node.module])]
        # `from a import b` may name a module `a.b` or a value of `a`: the longer name tells more.
        for alias in node.names:
            yield Import(".".join([*base, alias.name]), node.lineno, at_load)
    in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    typing_only: list[ast.stmt] = []
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        typing_only = node.body
    for child in ast.iter_child_nodes(node):
        later = in_function or child in typing_only
        yield from _imports(child, package, at_load and not later)


def violation(importer: str, imported: Import) -> str | None:
    """Return what the rule says against this import, or None."""
    own, other = part_of(importer), part_of(imported.module)
    package = imported.module.partition(".")[0]
    if own == "torch_ref" and package in (*PACKAGES, *JAX) and own != other:
        return "torch_ref imports torch and nothing of ours"
    if importer.startswith("flaxblocks") and package in TORCH and imported.at_load:
        return "flaxblocks never imports torch at module level"
    if package not in PACKAGES or own == other or LINE[other] < LINE[own]:
        return None
    return f"{own} imports only what stands before it, and {other} does not"


def part_of(module: str) -> str:
    """Return which part of the order a module, or a name imported from one, belongs to."""
    package, part, *_ = [*module.split("."), ""]
    if package != "flaxblocks":
        return package
    return part if part in LINE else ROOT_PACKAGE


def files() -> dict[str, Path]:
    """Return every source file of the packages by its dotted name."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}


def violations(source: str, name: str) -> list[str]:
    """Return a line for each import in the source that the rule forbids."""
    module = name.removesuffix(".__init__")
    found = imports(source, module, is_package=name.endswith(".__init__"))
    said = ((i, violation(module, i)) for i in found)
    return [f"{name}:{i.line} imports {i.module}: {text}" for i, text in said if text]


INTERNAL = "flaxblocks._base.jax_internals"
NOT_PUBLIC = re.compile(
    r"\bjax\.(_src|extend|experimental|interpreters|lib)\b|\bjaxlib\.|\bjax\.make_user_context"
    r"|\bmanual_axis_type\b|\blowering_parameters\b|\baxis_context\b"
)


def test_one_file_goes_beyond_jaxs_public_interfaces():
    beyond = [
        f"{name}:{number}"
        for name, path in files().items()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if NOT_PUBLIC.search(line) and name != INTERNAL
    ]
    assert beyond == []
    assert len(NOT_PUBLIC.findall(files()[INTERNAL].read_text())) > 5


def test_imports_run_one_way():
    modules = files()
    assert {"flaxblocks.layers.conv", "torch_ref.blocks", "parity.cases"} <= modules.keys()
    parts = {name.split(".")[1] for name in modules if name.startswith("flaxblocks.")}
    assert parts - LINE.keys() == {"__init__"}  # each part has its place
    assert [
        line for name, path in modules.items() for line in violations(path.read_text(), name)
    ] == []


PLANTED = [
    ("flaxblocks.ops.conv", "from flaxblocks.layers import Conv"),
    ("flaxblocks.ops.conv", "from ..layers.conv import Conv"),
    ("flaxblocks.layers.conv", "from flaxblocks.blocks import MBConv"),
    ("flaxblocks.layers.__init__", "from ..blocks import MBConv"),
    ("flaxblocks.layers.conv", "import flaxblocks.models.resnet as r"),
    ("flaxblocks.layers.conv", "import flaxblocks"),
    ("flaxblocks.layers.conv", "from flaxblocks import MBConv"),
    ("flaxblocks.layers.conv", "def f():\n    from flaxblocks.weights import state_dict"),
    ("flaxblocks.blocks.mbconv", "from flaxblocks.models import resnet"),
    ("flaxblocks.models.resnet", "from flaxblocks.weights import load_state_dict"),
    ("flaxblocks.weights.entries", "from flaxblocks.train import step"),
    ("flaxblocks.train.step", "from flaxblocks.cli import main"),
    ("flaxblocks._base.cache", "from flaxblocks.ops import conv"),
    ("flaxblocks.bench.sides.torch_side", "import torch"),
    ("flaxblocks.inference.fold", "import torch"),
    ("flaxblocks.inference.fold", "try:\n    import torch\nexcept ImportError:\n    torch = None"),
    ("flaxblocks.inference.fold", "class A:\n    from torch import nn"),
    ("flaxblocks.inference.fold", "import torchvision.models"),
    ("flaxblocks.inference.fold", "from parity import compare"),
    ("flaxblocks.inference.fold", "def f():\n    import torch_ref"),
    ("torch_ref.blocks", "from flaxblocks._base import checks"),
    ("torch_ref.blocks", "from parity.cases import CASES"),
    ("torch_ref.blocks", "import jax"),
    ("torch_ref.harness.layout", "def f():\n    from flaxblocks.bench.tasks import task"),
    ("flaxblocks.models.registry", "from flaxblocks.create import create_model"),
    ("flaxblocks.train.step.step", "from flaxblocks.exporting import onnx"),
    ("flaxblocks.exporting", "def f():\n    import flaxblocks as fb"),
    ("flaxblocks.__init__", "def f():\n    from parity import compare"),
    ("parity.suite", "from flaxblocks.bench.report import page"),
    ("parity.command", "from flaxblocks.cli import main"),
    ("parity.__main__", "from flaxblocks.cli import main"),
    ("flaxblocks.bench.__main__", "from flaxblocks.cli import main"),
    ("flaxblocks.bench.timing.run", "def f():\n    from ...cli import commands"),
    ("flaxblocks.cli.bench", "from flaxblocks.__main__ import run"),
]
ALLOWED = [
    ("flaxblocks.layers.conv", "from flaxblocks.ops import conv_general_dilated"),
    ("flaxblocks.layers.conv", "from flaxblocks import ops"),
    ("flaxblocks.layers.conv", "from . import linear"),
    ("flaxblocks.blocks.__init__", "from .mbconv import MBConv"),
    ("flaxblocks.blocks.mbconv", "from flaxblocks.layers import conv"),
    ("flaxblocks.models.resnet", "from flaxblocks.blocks import BottleNeck"),
    ("flaxblocks.weights.entries", "from flaxblocks.models import resnet"),
    ("flaxblocks.weights.state_dict", "def f():\n    import torch"),
    ("flaxblocks.inference.fold", "if TYPE_CHECKING:\n    import torch"),
    ("flaxblocks.cli", "from parity import compare"),
    ("flaxblocks.cli.bench", "from flaxblocks.bench import command"),
    ("flaxblocks.__main__", "from flaxblocks.cli import main"),
    ("flaxblocks.bench.sides.torch_side", "def f():\n    from parity import compare"),
    ("parity.command", "from flaxblocks import MBConv, list_models"),
    ("torch_ref.harness.passes", "import numpy, torch, torchvision"),
    ("flaxblocks.bench.sides.torch_side", "def f():\n    import torch, torch_ref"),
    ("flaxblocks.train.step", "from flaxblocks.layers import Conv"),
    ("flaxblocks.ops.native.build", "from flaxblocks._base.cache import cache_folder"),
    ("flaxblocks.__init__", "from flaxblocks.blocks import MBConv"),
    ("parity.compare", "import torch, torch_ref, flaxblocks"),
    ("torch_ref.blocks", "from torch_ref.layers import Conv"),
]


@pytest.mark.parametrize("name,source", PLANTED)
def test_a_planted_violation_is_found(name: str, source: str):
    assert len(violations(source, name)) == 1


@pytest.mark.parametrize("name,source", ALLOWED)
def test_what_the_rule_allows_passes(name: str, source: str):
    assert violations(source, name) == []


HELP = """
import sys
from flaxblocks.cli import main
from flaxblocks.cli.commands import COMMANDS
for command in ([], *([name] for name in COMMANDS)):
    try:
        main([*command, "--help"])
    except SystemExit as end:
        assert not end.code
    heavy = {"jax", "flax", "torch", "matplotlib", "PIL"} & sys.modules.keys()
    assert not heavy, (command, heavy)
"""


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "list the networks" in done.stdout and "--epochs" in done.stdout


def test_every_public_name_is_found_on_first_use():
    tree = ast.parse((ROOT / "flaxblocks" / "_public.py").read_text())
    names = {alias.asname for node in tree.body for alias in getattr(node, "names", ())}
    assert None not in names and len(names) > 30
    assert {*dir(flaxblocks)} - {"jaxtyping"} == names | {"train"}  # the annotation checks add one
    for name in dir(flaxblocks):
        assert getattr(flaxblocks, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Convolution'"):
        flaxblocks.Convolution  # noqa: B018
