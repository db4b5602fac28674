"""What the documentation takes from the code."""

import re
from pathlib import Path

import pytest
from flax import nnx

import flaxblocks as fb
from docs.generate.blocks import blocks_page, picture
from docs.generate.bounds import bounds_table
from docs.generate.diagram import steps
from docs.generate.networks import networks_page
from docs.generate.reference import reference_pages
from parity.cases import SEED_CASES
from parity.checks.tolerance import BOUNDS

ROOT = Path(__file__).parents[2]


def drawn(module: nnx.Module) -> list[tuple[str, str, list[str]]]:
    return [
        (step.path, step.text, [source.path or source.text for source in step.sources])
        for step in steps(module, (1, 5, 5, 8))
    ]


def test_a_diagram_is_the_traced_program():
    block = nnx.eval_shape(lambda: fb.MBConv(8, 8, 2, act=None, rngs=nnx.Rngs(0)))
    assert drawn(block) == [
        ("", "x (1, 5, 5, 8)", []),
        ("expand.conv", "Conv(8, 16, 1)", ["x (1, 5, 5, 8)"]),
        ("expand.norm", "BatchNorm(16)", ["expand.conv"]),
        ("depthwise.conv", "Conv(16, 16, 3, groups=16)", ["expand.norm"]),
        ("depthwise.norm", "BatchNorm(16)", ["depthwise.conv"]),
        ("project.conv", "Conv(16, 8, 1)", ["depthwise.norm"]),
        ("project.norm", "BatchNorm(8)", ["project.conv"]),
        ("", "add", ["project.norm", "x (1, 5, 5, 8)"]),
        ("", "relu", ["add"]),
    ]


def test_a_diagram_leaves_the_block_as_it_is():
    block = fb.BatchNorm(4, rngs=nnx.Rngs(0))
    before = nnx.graphdef(block)
    steps(block, (1, 5, 5, 4))
    assert nnx.graphdef(block) == before


def test_the_picture_in_the_readme_is_the_block():
    assert (ROOT / "docs/_static/mbconv.svg").read_text() == picture("MBConv")


def test_the_gallery_has_a_section_for_each_block():
    page = blocks_page()
    assert re.findall("^## (.*)$", page, re.MULTILINE) == [case.name for case in SEED_CASES]
    assert page.count("<svg") == len(SEED_CASES)
    assert "14,400 parameters" in page


def test_the_table_of_networks_has_them_all():
    page = networks_page()
    assert re.findall(r"<tr><th><code>(.*?)</code>", page) == fb.list_models()
    assert "25,557,032" in page and "IMAGENET1K_V2" in page


def test_the_table_of_families_counts_every_network_once():
    rows = re.findall(r"^\| .* \| (torchvision|timm) \| (\d+) \| (\d+) \|", networks_page(), re.M)
    assert sum(int(count) for _, count, _ in rows) == len(fb.list_models())
    assert sum(int(known) for *_, known in rows) == len(fb.list_models(weights=True))
    timm = sum(int(count) for source, count, _ in rows if source == "timm")
    assert timm == len(fb.list_models("timm/*"))


def test_the_table_of_bounds_has_them_all():
    assert len(bounds_table().splitlines()) == 2 + len(BOUNDS)


@pytest.mark.parametrize("name", ["MBConv", "create_model", "for_inference", "load_weights"])
def test_the_reference_has_public_names(name):
    assert f":: flaxblocks.{name}\n" in "".join(reference_pages().values())
