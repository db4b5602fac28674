"""The parts of timm's residual networks compute what timm's own do, gradients included."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from timm.layers.blur_pool import BlurPool2d
from timm.layers.eca import EcaModule
from timm.layers.norm import GroupNorm as TimmGroupNorm
from timm.layers.norm import RmsNorm2d, SimpleNorm2d
from timm.layers.squeeze_excite import SEModule
from timm.models import convnext as timm_convnext
from timm.models import res2net as timm_res2net
from timm.models import resnet as timm_resnet

import flaxblocks as fb
from flaxblocks.blocks.multi_scale import MultiScale
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.layers.response_norm import GlobalResponseNorm
from flaxblocks.layers.scale_norm import rms_norm, simple_norm
from flaxblocks.models.timm import convnext
from flaxblocks.models.timm.resnet import squeeze_excite
from flaxblocks.ops import average_pool, blur_pool, max_pool
from tests.helpers.parts import (
    assert_equal,
    assert_part_is_timms,
    assert_part_trains_as_timms,
)
from torch_ref.harness.layout import from_nhwc

# timm takes more than its types say.
ECA: Any = "eca"
GROUP_NORM: Any = partial(TimmGroupNorm, num_groups=4)
bare = partial(fb.BottleNeck, use_bias=False, shortcut=fb.blocks.projection)

PARTS = {  # ours, timm's and the shape of the input
    "eca": (
        partial(EfficientChannelAttention, 48),
        partial(EcaModule, 48),
        (2, 5, 4, 48),
    ),
    "eca wide": (
        partial(EfficientChannelAttention, 256),
        partial(EcaModule, 256),
        (2, 3, 2, 256),
    ),
    "se": (partial(squeeze_excite, 48), partial(SEModule, 48), (2, 5, 4, 48)),
    "basic blurred": (
        partial(
            fb.BasicBlock,
            8,
            12,
            stride=2,
            use_bias=False,
            shortcut=PooledProjection,
            pool=blur_pool,
        ),
        lambda: timm_resnet.BasicBlock(
            8,
            12,
            2,
            timm_resnet.downsample_avg(8, 12, 1, 2),
            aa_layer=BlurPool2d,
        ),
        (3, 7, 5, 8),
    ),
    "bottleneck averaged": (
        partial(
            bare,
            8,
            32,
            stride=2,
            shortcut=PooledProjection,
            pool=average_pool,
            se=EfficientChannelAttention,
        ),
        lambda: timm_resnet.Bottleneck(
            8,
            8,
            2,
            timm_resnet.downsample_avg(8, 32, 1, 2),
            aa_layer=torch.nn.AvgPool2d,
            attn_layer=ECA,
        ),
        (3, 6, 4, 8),
    ),
    "bottleneck group norm": (
        partial(bare, 8, 32, norm=partial(GroupNorm, num_groups=4)),
        lambda: timm_resnet.Bottleneck(
            8,
            8,
            1,
            timm_resnet.downsample_conv(8, 32, 1, 1, norm_layer=GROUP_NORM),
            norm_layer=GROUP_NORM,
        ),
        (3, 6, 4, 8),
    ),
    "res2net": (
        partial(
            bare,
            16,
            16,
            hidden_features=12,
            spatial=partial(MultiScale, scale=3),
        ),
        lambda: timm_res2net.Bottle2neck(
            16, 4, base_width=64, scale=3, norm_layer=torch.nn.BatchNorm2d
        ),
        (3, 6, 4, 16),
    ),
    "res2net with stride": (
        partial(
            bare,
            8,
            16,
            stride=2,
            hidden_features=12,
            spatial=partial(MultiScale, scale=3, first=True),
        ),
        lambda: timm_res2net.Bottle2neck(
            8,
            4,
            2,
            timm_resnet.downsample_conv(8, 16, 1, 2),
            base_width=64,
            scale=3,
            norm_layer=torch.nn.BatchNorm2d,
        ),
        (3, 7, 5, 8),
    ),
    "convnext v2": (
        partial(
            fb.ConvNeXtBlock,
            8,
            pointwise=convnext.by_conv,
            layer_scale=None,
            response_norm=GlobalResponseNorm,
        ),
        lambda: timm_convnext.ConvNeXtBlock(8, conv_mlp=True, use_grn=True, ls_init_value=None),
        (3, 7, 5, 8),
    ),
    "rms norm": (partial(rms_norm, 8), partial(RmsNorm2d, 8), (3, 5, 4, 8)),
    "simple norm": (partial(simple_norm, 8), partial(SimpleNorm2d, 8), (3, 5, 4, 8)),
}


@pytest.mark.parametrize("make,make_torch,shape", PARTS.values(), ids=PARTS)
def test_parts_have_timms_names_outputs_gradients_and_statistics(make, make_torch, shape, x64):
    assert_part_is_timms(make, make_torch, shape)


@pytest.mark.slow
@pytest.mark.parametrize("make,make_torch,shape", PARTS.values(), ids=PARTS)
def test_parts_train_as_timms(make, make_torch, shape):
    assert_part_trains_as_timms(make, make_torch, shape)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 4), (6, 6)])
def test_average_pool_is_torchs_with_and_without_the_odd_edge(size, x64):
    image = np.random.default_rng(0).normal(size=(2, *size, 3))
    for ceil_mode in (False, True) if min(size) > 1 else (True,):
        pool = torch.nn.AvgPool2d(2, ceil_mode=ceil_mode, count_include_pad=False)
        truth = pool(from_nhwc(image)).permute(0, 2, 3, 1)
        assert_equal(average_pool(jnp.asarray(image), ceil_mode=ceil_mode), truth, "output")


def test_blur_pool_is_timms(x64):
    image = np.random.default_rng(0).normal(size=(2, 7, 4, 3))
    truth = BlurPool2d(3).double()(from_nhwc(image)).permute(0, 2, 3, 1)
    assert_equal(blur_pool(jnp.asarray(image)), truth, "output")


def test_a_silent_channel_has_no_gradient_of_its_strength():
    norm = GlobalResponseNorm(4, rngs=nnx.Rngs(0))
    gradient = jax.jit(jax.grad(lambda x: norm(x).sum()))(jnp.zeros((1, 3, 3, 4)))
    np.testing.assert_array_equal(gradient, np.ones((1, 3, 3, 4)))


def test_branches_of_different_sizes_are_never_broadcast():
    block = nnx.eval_shape(lambda: bare(8, 8, stride=2, pool=average_pool, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"`block` returned shape \(2, 1, 1, 8\)"):
        nnx.eval_shape(lambda block, x: block(x), block, jnp.ones((2, 3, 3, 8)))


def test_a_stem_needs_a_stride_for_each_convolution():
    with pytest.raises(ValueError, match="`stride` must have a number for each of the 3"):
        fb.Stem(3, (8, 8, 8), stride=(2, 1), pool=max_pool, rngs=nnx.Rngs(0))


def test_groups_of_channels_divide_them():
    with pytest.raises(ValueError, match="`group_size` must divide the 8 channels, got 3"):
        GroupNorm(8, group_size=3, rngs=nnx.Rngs(0))
