"""The published parameter counts, and the same names in the same order on both sides."""

import jax
import pytest
from flax import nnx

import flaxblocks as fb
import torch_ref
from flaxblocks.weights.entries import entries
from parity.cases import CASES, Case

WIDTHS = ((32, 64), (32, 32), (64, 64))
COUNTS = {
    "ConvNormAct": (18_624, 9_312, 37_056),
    "Conv3X3BnReLU": (18_624, 9_312, 37_056),
    "BottleNeck": (6_368, 1_232, 4_640),
    "LinearBottleNeck": (6_368, 1_232, 4_640),
    "InvertedResidual": (162_944, 156_512, 624_320),
    "MobileNetLikeBlock": (160_704, 156_512, 624_320),
    "DepthWiseSeparableConv": (2_432, 1_376, 4_800),
    "MBConv": (14_400, 10_208, 36_800),
    "FusedMBConv": (45_632, 41_440, 164_800),
}
ROWS = [
    pytest.param(name, widths, count, id=f"{name}-{widths[0]}-{widths[1]}")
    for name, counts in COUNTS.items()
    for widths, count in zip(WIDTHS, counts, strict=True)
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def count(module: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def abstract(make) -> nnx.Module:
    return nnx.eval_shape(make)


@pytest.mark.parametrize("name,widths,expected", ROWS)
def test_published_count_in_both_libraries(name: str, widths: tuple[int, int], expected: int):
    ours = abstract(lambda: getattr(fb, name)(*widths, rngs=nnx.Rngs(0)))
    theirs = getattr(torch_ref, name)(*widths)
    assert count(ours) == expected
    assert sum(p.numel() for p in theirs.parameters()) == expected


def test_the_dense_convolution_that_the_tutorial_prints():
    assert count(abstract(lambda: fb.Conv(32, 64, 3, rngs=nnx.Rngs(0)))) == 18_496


def test_the_tutorials_mbconv_was_dense_where_its_text_means_depthwise():
    """It drops `groups`: its printed count is that of a block with a dense 3x3."""
    dense = abstract(lambda: fb.MobileNetLikeBlock(32, 64, rngs=nnx.Rngs(0)))
    depthwise = abstract(lambda: fb.MBConv(32, 64, rngs=nnx.Rngs(0)))
    assert (count(dense), count(depthwise)) == (160_704, 14_400)


@every_case
def test_same_names_shapes_and_order_as_pytorch(case: Case):
    ours = {name: value.shape for name, value in fb.state_dict(case.build_flax()).items()}
    theirs = {name: tuple(value.shape) for name, value in case.build_torch().state_dict().items()}
    assert list(ours.items()) == list(theirs.items())


@every_case
def test_parameters_and_statistics_are_of_the_same_kind_as_in_pytorch(case: Case):
    ours = {
        name
        for name, entry in entries(abstract(case.build_flax)).items()
        if isinstance(entry.variable, nnx.Param)
    }
    assert ours == {name for name, _ in case.build_torch().named_parameters()}


def test_an_absent_child_is_none_and_shifts_no_name():
    block = fb.MBConv(8, 8, 1, rngs=nnx.Rngs(0))
    assert (block.expand, block.se, block.drop_path) == (None, None, None)
    assert {name.split(".")[0] for name in fb.state_dict(block)} == {"depthwise", "project"}


def test_case_names_are_unique():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
