"""Pre-activation blocks and standardized convolutions are timm's."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from timm.layers.create_conv2d import create_conv2d
from timm.layers.norm_act import BatchNormAct2d, GroupNormAct
from timm.layers.std_conv import ScaledStdConv2d, StdConv2d
from timm.models import resnetv2

import flaxblocks as fb
from flaxblocks.blocks.preactivation import (
    PreActBasicBlock,
    PreActBottleNeck,
    pre_activated_projection,
)
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.models.timm.resnetv2 import BIT_CONV, pooled, zero_padded_max_pool
from parity.checks import measure
from parity.checks.tolerance import bound
from tests.helpers.networks import abstract
from tests.helpers.parts import assert_part_is_timms, assert_part_trains_as_timms

plain: Any = {"conv_layer": create_conv2d, "norm_layer": BatchNormAct2d}
standardized: Any = {
    "conv_layer": partial(StdConv2d, eps=1e-8),
    "norm_layer": partial(GroupNormAct, num_groups=4),
}
QUICK = {
    "scaled convolution": (
        partial(fb.ScaledStandardizedConv, 8, 12, 3, stride=2, dilation=2, groups=2, gamma=1.7),
        partial(ScaledStdConv2d, 8, 12, 3, stride=2, dilation=2, groups=2, gamma=1.7),
    ),
    "BiT": (
        partial(
            PreActBottleNeck,
            8,
            32,
            stride=2,
            shortcut=pre_activated_projection,
            conv=BIT_CONV,
            norm=partial(GroupNorm, num_groups=4),
        ),
        partial(
            resnetv2.PreActBottleneck,
            8,
            32,
            stride=2,
            proj_layer=resnetv2.DownsampleConv,
            **standardized,
        ),
    ),
}
SLOW = {
    "basic": (
        partial(PreActBasicBlock, 8, 16, stride=2, shortcut=pooled),
        partial(
            resnetv2.PreActBasic,
            8,
            16,
            bottle_ratio=1.0,
            stride=2,
            proj_layer=resnetv2.DownsampleAvg,
            **plain,
        ),
    ),
    "bottleneck": (
        partial(PreActBottleNeck, 8, 32, shortcut=pre_activated_projection),
        partial(resnetv2.PreActBottleneck, 8, 32, proj_layer=resnetv2.DownsampleConv, **plain),
    ),
}
EACH = [
    *(pytest.param(*part, id=name) for name, part in QUICK.items()),
    *(pytest.param(*part, id=name, marks=pytest.mark.slow) for name, part in SLOW.items()),
]


@pytest.mark.parametrize(("make", "make_torch"), EACH)
def test_parts_have_timms_names_outputs_gradients_and_statistics(make, make_torch, x64):
    assert_part_is_timms(make, make_torch, (3, 6, 5, 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK | SLOW)
def test_parts_train_as_timms(name: str):
    make, make_torch = (QUICK | SLOW)[name]
    assert_part_trains_as_timms(make, make_torch, (3, 6, 5, 8))


def test_inference_standardizes_once(x64):
    make = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    conv = fb.ScaledStandardizedConv(4, 6, 3, gamma=1.7, **make)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4, 4)))
    fast = fb.for_inference(conv)
    assert type(fast) is fb.Conv and fast.gain is None and isinstance(conv.gain, nnx.Param)
    assert measure.scaled_error(np.asarray(fast(x)), np.asarray(conv(x))) <= bound(
        "float64", "output"
    )
    np.testing.assert_array_equal(fast.kernel[...], conv.standardized())


def test_what_a_pool_reads_beyond_the_border_are_zeros():
    x = -jnp.ones((1, 4, 4, 1))
    np.testing.assert_array_equal(zero_padded_max_pool(x)[0, :, :, 0], [[0, 0], [0, -1]])


def test_a_dilated_stage_dilates_its_first_block_by_what_was_before():
    network = nnx.eval_shape(
        lambda: fb.create_model("timm/resnetv2_18d", output_stride=8, rngs=nnx.Rngs(0))
    )
    first, second = network.stages[3].blocks
    dilations = [c.conv.kernel_dilation for b in (first, second) for c in (b.first, b.second)]
    assert dilations == [(2, 2), (4, 4), (4, 4), (4, 4)]
    assert first.shortcut.dilated
    assert not abstract("timm/resnetv2_18d").stages[3].blocks[0].shortcut.dilated
