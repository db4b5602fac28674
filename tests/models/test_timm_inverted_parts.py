"""The parts of timm's inverted networks compute what timm's own do, gradients included."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from timm.layers.evo_norm import EvoNorm2dS0
from timm.layers.global_context import GlobalContext as TimmGlobalContext
from timm.models import _efficientnet_blocks as timm_blocks
from timm.models import regnet as timm_regnet
from timm.models import resnet as timm_resnet

import flaxblocks as fb
from flaxblocks.blocks import projection
from flaxblocks.blocks.mobile_attention import MobileAttention
from flaxblocks.blocks.norm_first import NormFirstBottleNeck
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.blocks.space_to_depth import SpaceToDepth
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.layers.global_context import GlobalContext
from flaxblocks.models.timm.inverted import blur_pool_in_zeros
from flaxblocks.models.timm.mixnet import HALVES
from flaxblocks.models.timm.resnet import wide_projection
from flaxblocks.ops import average_pool
from flaxblocks.ops.activations import silu
from tests.helpers.parts import assert_equal, assert_part_is_timms, assert_part_trains_as_timms
from tests.helpers.twins import assert_same
from torch_ref.harness.exact_gradients import ExactGradients
from torch_ref.harness.layout import from_nhwc

PUBLISHED = {"use_bias": False, "act": silu, "final_act": None}
mbconv = partial(fb.MBConv, **PUBLISHED)
# timm takes more than its types say.
their_mbconv: Any = partial(timm_blocks.InvertedResidual, exp_ratio=4, act_layer=torch.nn.SiLU)
universal: Any = timm_blocks.UniversalInvertedResidual
QUICK = ("mixed", "universal", "norm first", "attention", "conditional", "evo norm")

PARTS: dict[str, Any] = {  # ours, timm's and the shape of the input
    "mixed": (
        partial(mbconv, 8, 8, kernel_size=fb.Mixed((3, 5, 7)), expand=HALVES, project=HALVES),
        lambda: their_mbconv(
            8, 8, dw_kernel_size=[3, 5, 7], exp_kernel_size=[1, 1], pw_kernel_size=[1, 1]
        ),
        (2, 6, 5, 8),
    ),
    "mixed as in TensorFlow": (
        partial(mbconv, 8, 12, stride=2, kernel_size=fb.Mixed((3, 5)), padding="SAME"),
        lambda: their_mbconv(8, 12, dw_kernel_size=[3, 5], stride=2, pad_type="same"),
        (2, 6, 5, 8),
    ),
    "blurred": (
        partial(mbconv, 8, 12, stride=2, pool=blur_pool_in_zeros),
        lambda: their_mbconv(8, 12, stride=2, aa_layer="blurpc"),
        (2, 7, 6, 8),
    ),
    "fused, averaged": (
        partial(fb.FusedMBConv, 8, 12, stride=2, pool=average_pool, **PUBLISHED),
        lambda: timm_blocks.EdgeResidual(
            8,
            12,
            stride=2,
            exp_ratio=4,
            act_layer=torch.nn.SiLU,
            aa_layer=torch.nn.AvgPool2d,
        ),
        (2, 7, 6, 8),
    ),
    "universal": (
        partial(
            UniversalInvertedBottleneck,
            8,
            12,
            stride=2,
            pool=average_pool,
            layer_scale=1e-5,
        ),
        lambda: universal(8, 12, 0, 3, stride=2, exp_ratio=4, aa_layer="avg"),
        (2, 7, 6, 8),
    ),
    "space to depth": (
        partial(SpaceToDepth, 8, 12, se=partial(fb.SqueezeExcite, squeeze_features=4, act=silu)),
        lambda: timm_blocks.DepthwiseSeparableConv(
            8,
            12,
            s2d=1,
            act_layer=torch.nn.SiLU,
            se_layer=partial(timm_blocks.SqueezeExcite, rd_channels=4),  # pyright: ignore[reportArgumentType]
        ),
        (2, 7, 6, 8),
    ),
    "global context": (
        partial(mbconv, 8, 8, se=partial(GlobalContext, squeeze_features=4, act=silu)),
        lambda: their_mbconv(8, 8, se_layer=partial(TimmGlobalContext, rd_channels=4)),
        (2, 6, 5, 8),
    ),
    "norm first": (
        partial(
            NormFirstBottleNeck,
            8,
            16,
            1,
            stride=2,
            groups=4,
            shortcut=PooledProjection,
            spatial_se=partial(fb.SqueezeExcite, squeeze_features=2),
        ),
        lambda: timm_regnet.PreBottleneck(8, 16, 2, group_size=4, downsample="avg"),
        (3, 7, 5, 8),
    ),
    "norm first, identity": (
        partial(NormFirstBottleNeck, 8, 8, 1, groups=2, shortcut=projection),
        lambda: timm_regnet.PreBottleneck(8, 8, group_size=4, se_ratio=0),
        (3, 7, 5, 8),
    ),
    "a wide shortcut": (
        partial(
            fb.BottleNeck,
            8,
            32,
            stride=2,
            use_bias=False,
            reduce_features=4,
            shortcut=wide_projection,
        ),
        lambda: timm_resnet.Bottleneck(
            8, 8, 2, timm_resnet.downsample_conv(8, 32, 3, 2), reduce_first=2
        ),
        (3, 7, 5, 8),
    ),
    "attention": (
        partial(MobileAttention, 8, 8, heads=2, head_features=4, key_stride=2),
        lambda: timm_blocks.MobileAttention(
            8, 8, num_heads=2, key_dim=4, value_dim=4, kv_stride=2, use_multi_query=True
        ),
        (2, 5, 6, 8),
    ),
    "conditional": (
        partial(fb.CondMBConv, 8, 8, experts=3, act=silu),
        lambda: timm_blocks.CondConvResidual(
            8, 8, exp_ratio=4, num_experts=3, act_layer=torch.nn.SiLU
        ),
        (3, 6, 5, 8),
    ),
    "evo norm": (
        partial(mbconv, 8, 8, norm=partial(fb.EvoNorm, group_size=4)),
        lambda: their_mbconv(8, 8, norm_layer=partial(EvoNorm2dS0, group_size=4)),
        (3, 6, 5, 8),
    ),
}
EACH = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in PARTS]


@pytest.mark.parametrize("name", EACH)
def test_parts_have_timms_names_outputs_gradients_and_statistics(name: str, x64):
    with ExactGradients():
        assert_part_is_timms(*PARTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_parts_train_as_timms(name: str):
    assert_part_trains_as_timms(*PARTS[name])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("mixed", "conditional") else pytest.mark.slow)
        for name in PARTS
    ],
)
def test_for_inference_they_are_the_same_function(name: str, x64):
    make, _, shape = PARTS[name]
    rng = np.random.default_rng(0)
    module = make(param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    for _, value in nnx.to_flat_state(nnx.state(module, (nnx.Param, nnx.BatchStat))):
        if jnp.issubdtype(value.get_value().dtype, jnp.floating):
            value.set_value(jnp.asarray(rng.uniform(0.5, 1.5, value.shape)))
    module.eval()
    x = jnp.asarray(rng.normal(size=shape))
    truth, y = nnx.jit(lambda a, b, x: (a(x), b(x)))(module, fb.for_inference(module), x)
    assert_same(y, truth)


@pytest.mark.slow
def test_a_pool_follows_the_convolution_that_has_the_stride(x64):
    twin = universal(8, 12, 3, 0, stride=2, exp_ratio=4, aa_layer="avg").double().eval()
    block = UniversalInvertedBottleneck(
        8,
        12,
        start_kernel_size=3,
        kernel_size=None,
        stride=2,
        pool=average_pool,
        layer_scale=1e-5,
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )
    fb.load_state_dict(block, twin.state_dict(), names="timm")
    block.eval()
    image = np.random.default_rng(0).normal(size=(2, 7, 6, 8))
    truth = twin(from_nhwc(image)).permute(0, 2, 3, 1)
    assert_equal(nnx.jit(block)(jnp.asarray(image)), truth, "output")


def test_a_blur_may_see_zeros_beyond_the_edge(x64):
    image = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    wide = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    truth = [
        [np.einsum("nijc,ij->nc", wide[:, r : r + 3, c : c + 3], kernel) for c in (0, 2)]
        for r in (0, 2, 4)
    ]
    blurred = blur_pool_in_zeros(jnp.asarray(image))
    assert_equal(blurred, torch.from_numpy(np.stack(truth).transpose(2, 0, 1, 3)), "output")


def test_what_the_parts_cannot_do_is_refused(as_installed):
    rngs = nnx.Rngs(0)
    for message, make in (
        ("`sizes` must have a kernel size", lambda: fb.Mixed(())),
        ("`sizes` must be a positive integer, got 0", lambda: fb.Mixed((3, 0))),
        ("`groups` must be 1 or the 8", lambda: fb.MixedConv(8, 8, K35, groups=2, rngs=rngs)),
        ("`in_features` must be 2 or more", lambda: fb.MixedConv(1, 8, K35, rngs=rngs)),
        ("`experts` must be a positive", lambda: fb.CondConv(8, 8, experts=0, rngs=rngs)),
        ("`group_size` must divide the 8", lambda: fb.EvoNorm(8, group_size=3, rngs=rngs)),
        ("`stride` must be 1", lambda: attention(8, 8, stride=2, rngs=rngs)),
        (
            "`kernel_size` must be odd",
            lambda: EfficientChannelAttention(8, kernel_size=4, rngs=rngs),
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()


K35 = fb.Mixed((3, 5))
attention = partial(MobileAttention, heads=2, head_features=4)
