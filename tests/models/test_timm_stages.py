"""Blocks of SENet, HGNet, CSPNet and NFNet are timm's."""

from functools import partial
from typing import Any

import pytest
from flax import nnx
from timm.layers.create_attn import get_attn
from timm.layers.std_conv import ScaledStdConv2d, ScaledStdConv2dSame
from timm.models import cspnet, hgnet, nfnet, senet
from torch import nn

import flaxblocks as fb
from flaxblocks.blocks.branched_stem import BranchedStem
from flaxblocks.blocks.norm_free import NormFreeBottleNeck
from flaxblocks.blocks.one_shot import LightUnit, OneShotAggregation
from flaxblocks.blocks.residual import PooledProjection, projection
from flaxblocks.layers.affine import AffineConvNormAct
from flaxblocks.layers.effective_squeeze_excite import EffectiveSqueezeExcite
from flaxblocks.models.timm.nfnet import SE, scaled_gelu
from tests.helpers.networks import abstract
from tests.helpers.parts import assert_part_is_timms, assert_part_trains_as_timms

relu, silu = fb.activations.relu, fb.activations.silu
dark = partial(fb.DarkBlock, hidden_features=4)
leaky_relu = fb.activations.leaky_relu
attention: Any = get_attn("se")
bottleneck = partial(
    fb.BottleNeck,
    hidden_features=4,
    use_bias=False,
    act=leaky_relu,
    final_act=leaky_relu,
    shortcut=None,
)
leaky: Any = {"act_layer": nn.LeakyReLU, "norm_layer": nn.BatchNorm2d}
scaled: Any = partial(fb.ScaledStandardizedConv, epsilon=1e-5)


def older(block: nn.Module) -> nn.Module:
    """Give the gate the name that it has in timm's ResNets, which blocks on their own have."""
    gate: Any = block._modules.pop("se_module")
    block.se = gate
    block.__dict__["se_module"] = gate
    return block


def older_shortcut() -> nn.Module:
    return nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))


QUICK: dict[str, Any] = {
    "light layers": (
        partial(
            OneShotAggregation,
            8,
            8,
            hidden_features=4,
            depth=2,
            layer=partial(LightUnit, kernel_size=5, unit=AffineConvNormAct),
            unit=AffineConvNormAct,
            squeeze_features=4,
        ),
        partial(
            hgnet.HighPerfGpuBlock,
            *(8, 4, 8, 2, 5),
            residual=True,
            light_block=True,
            use_lab=True,
            agg="se",
        ),
    ),
    "cross stage": (
        partial(fb.CrossStagePartial, 8, 12, blocks=(dark, dark), block_features=6),
        partial(
            cspnet.CrossStage,
            *(8, 12, 1, 1, 2),
            block_ratio=0.5,
            bottle_ratio=4 / 6,
            block_fn=cspnet.DarkBlock,
            **leaky,
        ),
    ),
    "norm free": (
        partial(
            NormFreeBottleNeck,
            8,
            16,
            hidden_features=8,
            stride=2,
            groups=2,
            depth=2,
            padding="SAME",
            beta=0.7,
            shortcut=PooledProjection,
            conv=scaled,
            act=scaled_gelu,
            se=SE,
            has_gain=True,
        ),
        partial(
            nfnet.NormFreeBlock,
            *(8, 16, 2),
            alpha=0.2,
            beta=0.7,
            bottle_ratio=0.5,
            group_size=4,
            reg=False,
            extra_conv=True,
            skipinit=True,
            attn_layer=partial(attention, rd_ratio=0.5),
            act_layer=nfnet.act_with_gamma("gelu", 1.7015043497085571),
            conv_layer=partial(ScaledStdConv2dSame, eps=1e-5),
        ),
    ),
}
SLOW = {
    "older basic block": (
        partial(
            fb.BasicBlock,
            8,
            8,
            use_bias=False,
            second_act=relu,
            se=partial(fb.SqueezeExcite, ratio=1 / 4),
        ),
        lambda: older(senet.SEResNetBlock(8, 8, 1, 4)),
    ),
    "older bottleneck": (
        partial(
            fb.BottleNeck,
            8,
            16,
            4,
            stride=2,
            early_stride=True,
            use_bias=False,
            shortcut=projection,
            se=partial(fb.SqueezeExcite, ratio=1 / 4),
        ),
        lambda: older(senet.SEResNetBottleneck(8, 4, 1, 4, 2, older_shortcut())),
    ),
    "gated layers": (
        partial(OneShotAggregation, 8, 12, hidden_features=4, depth=3, gate=EffectiveSqueezeExcite),
        partial(hgnet.HighPerfGpuBlock, 8, 4, 12, 3),
    ),
    "branched stem": (
        partial(BranchedStem, 8, 12, hidden_features=6, unit=AffineConvNormAct),
        partial(hgnet.StemV2, 8, 6, 12, use_lab=True),
    ),
    "linear cross stage of bottlenecks": (
        partial(
            fb.CrossStagePartial,
            8,
            8,
            blocks=(bottleneck,),
            expand_features=16,
            linear=True,
        ),
        partial(
            cspnet.CrossStage,
            *(8, 8, 1, 1, 1),
            expand_ratio=2.0,
            bottle_ratio=0.5,
            cross_linear=True,
            **leaky,
        ),
    ),
    "edge blocks": (
        partial(fb.DarkBlock, 8, 8, hidden_features=12, kernel_sizes=(3, 1), act=silu),
        partial(cspnet.EdgeBlock, 8, 8, bottle_ratio=1.5, act_layer=nn.SiLU),
    ),
    "norm-free RegNet": (
        partial(
            NormFreeBottleNeck,
            8,
            8,
            hidden_features=16,
            conv=partial(scaled, gamma=1.5),
            act=silu,
            spatial_se=SE,
        ),
        partial(
            nfnet.NormFreeBlock,
            8,
            8,
            alpha=0.2,
            bottle_ratio=2.0,
            attn_layer=partial(attention, rd_ratio=0.5),
            act_layer=nn.SiLU,
            conv_layer=partial(ScaledStdConv2d, gamma=1.5, eps=1e-5),
        ),
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
@pytest.mark.parametrize("name", [name for name in QUICK | SLOW if name != "branched stem"])
def test_parts_train_as_timms(name: str):
    """Not of the stem: AdamW divides rounding by itself where a norm takes a shift away."""
    make, make_torch = (QUICK | SLOW)[name]
    assert_part_trains_as_timms(make, make_torch, (3, 6, 5, 8))


def test_each_block_around_which_a_stage_is_drops_at_its_own_rate():
    network = nnx.eval_shape(
        lambda: fb.create_model("timm/cs3darknet_s", drop_path_rate=0.3, rngs=nnx.Rngs(0))
    )
    rates = [
        0.0 if block.drop_path is None else block.drop_path.rate
        for stage in network.stages
        for block in stage.blocks[0].blocks
    ]
    assert rates == pytest.approx([0.3 * i / (len(rates) - 1) for i in range(len(rates))])


def test_the_older_gated_networks_stride_in_the_first_convolution():
    block = abstract("timm/legacy_seresnet50").stages[1].blocks[0]
    assert (block.reduce.conv.strides, block.spatial.conv.strides) == ((2, 2), (1, 1))
    twin: Any = senet.legacy_seresnet50().layer2[0]
    assert twin.conv1.stride == (2, 2)


def test_residual_branches_start_at_nothing():
    last = fb.create_model("timm/test_nfnet", rngs=nnx.Rngs(0)).stages[0].blocks[0].expand
    assert not last.conv.gain[...].any()


@pytest.mark.parametrize("make", [dark, partial(OneShotAggregation, hidden_features=4, depth=1)])
def test_blocks_that_keep_the_size_have_no_stride(make: Any):
    with pytest.raises(ValueError, match="`stride` must be 1 "):
        make(8, 8, stride=2, rngs=nnx.Rngs(0))


def test_halves_are_equal():
    with pytest.raises(ValueError, match="`expand_features` must be even, got 7"):
        fb.CrossStagePartial(8, 7, blocks=(), rngs=nnx.Rngs(0))


def test_a_dilated_stage_keeps_what_was_before_it():
    network: Any = nnx.eval_shape(
        lambda: fb.create_model("timm/cs3darknet_s", output_stride=8, rngs=nnx.Rngs(0))
    )
    last = network.stages[3]
    assert last.downsample.conv.kernel_dilation == (2, 2)
    assert last.blocks[0].blocks[0].second.conv.kernel_dilation == (4, 4)
    free: Any = nnx.eval_shape(
        lambda: fb.create_model("timm/test_nfnet", output_stride=8, rngs=nnx.Rngs(0))
    )
    block = free.stages[3].blocks[0]
    assert [unit.conv.kernel_dilation for unit in block.spatial] == [(2, 2), (4, 4)]
    assert block.shortcut.dilated
