"""Every block of the table passes every check of the parity suite, on a photograph too."""

import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
import torch_ref
from parity import CHECKS, compare
from parity.cases import CASES
from parity.photo import load_photo, photo_input
from tests.helpers.twins import REPEATED

# A gate, a smooth activation, a standardization or a deviation rounds: no bitwise check.
ROUNDS = {
    case.name
    for case in CASES
    if any(name in repr(case.spec) for name in ("SqueezeExcite", "Standardized", "EvoNorm", "Cond"))
} | {
    case.name
    for case in CASES
    if any(f"name='{act}'" in repr(case.spec) for act in ("silu", "gelu", "hard_swish"))
}


MOST = (7, 9)  # pixels: odd, and enough for every kernel of the table

# What these vary is a part that has a row of its own, or a size.
LARGER = (
    "BottleNeck/resnext",
    "BottleNeck/se",
    "BottleNeck/caffe",
    "CrossStagePartial/c3",
    "DarkBlock/edge",
    "MBConv/mobilenetv3",
    "MBConv/stride2-5x5",
    "FusedMBConv/stride2-se",
    "MBConv/mixed",
    "RepConv/repvgg",
    "GhostModule/repghost",
)
EACH = [
    pytest.param(
        case,
        id=case.name,
        marks=[pytest.mark.slow] if case in REPEATED or case.name in LARGER else [],
    )
    for case in CASES
]


@pytest.mark.parametrize("case", EACH)
def test_block_equals_its_torch_twin(case):
    n, height, width, channels = case.shape
    shape = (n, min(height, MOST[0]), min(width, MOST[1]), channels)
    random = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    x = [photo_input(load_photo(), shape), random]
    report = compare(case.build_torch(), case.build_flax(), x, name=case.name)
    assert report.ok, str(report)
    assert report.checks == tuple(CHECKS)
    assert report.passed("bitwise") is (None if case.name in ROUNDS else True)


def test_a_conditional_convolution_is_equal_bit_for_bit_where_its_routing_is_given():
    random = np.random.default_rng(0)
    x = [
        (
            random.normal(size=(3, 6, 5, 8)).astype(np.float32),
            random.uniform(size=(3, 4)).astype(np.float32),
        )
    ]
    ours = fb.CondConv(8, 12, stride=2, rngs=nnx.Rngs(0))
    report = compare(torch_ref.CondConv(8, 12, stride=2), ours, x, checks=("names", "bitwise"))
    assert report.passed("bitwise") is True, str(report)


def test_most_of_the_table_is_checked_bit_for_bit():
    assert len(ROUNDS) <= len(CASES) // 3
