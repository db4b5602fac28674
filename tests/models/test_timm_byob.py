"""timm's networks of blocks of several kinds, and the layers that only they have, are timm's."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import timm
import torch
from flax import nnx
from timm.layers.attention_pool2d import AttentionPool2d
from timm.layers.evo_norm import EvoNorm2dS0a
from timm.layers.filter_response_norm import FilterResponseNormTlu2d
from timm.layers.global_context import GlobalContext as TimmGlobalContext
from timm.layers.non_local_attn import BatNonLocalAttn
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg

import flaxblocks as fb
from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.attention_head import AttentionHead
from flaxblocks.blocks.conv_pair import ConvPair
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers.attention_pool import AttentionPool
from flaxblocks.layers.bilinear_attention import BilinearAttention
from flaxblocks.models import Backbone
from flaxblocks.models.timm.byob import (
    basic,
    bottle,
    byobnet,
    context,
    dark,
    edge,
    inverted,
    plain,
    quad,
    squeeze_excite,
)
from flaxblocks.ops import average_pool
from tests.helpers.arrays import assert_same_distribution
from tests.helpers.parts import (
    assert_equal,
    assert_part_is_timms,
    assert_part_trains_as_timms,
)
from torch_ref.harness.exact_gradients import ExactGradients

EVO = partial(fb.EvoNorm, group_size=4, epsilon=1e-3, always=True)
POOLED: Any = {"shortcut": PooledProjection}


def ours(architecture) -> partial[Backbone]:
    return partial(Backbone, architecture, num_classes=3)


def theirs(*blocks: ByoBlockCfg, img_size: int | None = None, **options) -> partial[ByobNet]:
    config = ByoModelCfg(blocks=blocks, **options)
    return partial(ByobNet, config, num_classes=3, img_size=img_size)


KINDS = (
    plain(
        (1, 1, 1, 2),
        (16, 16, 32, 32),
        (
            partial(edge, ratio=0.5, **POOLED),
            partial(dark, ratio=0.5, **POOLED),
            partial(basic, **POOLED),
            partial(bottle, group_width=4, spatial=ConvPair, **POOLED),
        ),
        stem=partial(Stem, features=(8,)),
        gate=partial(squeeze_excite, ratio=0.25),
    ),
    theirs(
        ByoBlockCfg("edge", 1, 16, 1, 0, 0.5),
        ByoBlockCfg("dark", 1, 16, 2, 0, 0.5),
        ByoBlockCfg("basic", 1, 32, 2, 0, 1),
        ByoBlockCfg("bottle", 2, 32, 2, 4, 0.25, block_kwargs={"extra_conv": True}),
        stem_chs=8,
        stem_pool=None,
        downsample="avg",
        attn_layer="se",
        attn_kwargs={"rd_ratio": 0.25},
    ),
    (3, 19, 23, 3),
)
INVERTED = (
    byobnet(
        (2, 1),
        (16, 24),
        partial(inverted, expansion=2, group_width=4),
        stem=quad(16, bare=(0, 1)),
        norm=EVO,
        head=partial(Head, conv_features=32, conv_norm=EVO, act=fb.activations.silu),
    ),
    theirs(
        *(ByoBlockCfg("bottle", d, c, s, 4, 2) for d, c, s in ((2, 16, 1), (1, 24, 2))),
        stem_chs=16,
        stem_type="quad2",
        stem_pool="",
        downsample="",
        num_features=32,
        act_layer="silu",
        norm_layer=partial(EvoNorm2dS0a, group_size=4),  # pyright: ignore[reportArgumentType]
        block_kwargs={"bottle_in": True, "linear_out": True},
    ),
    (2, 13, 17, 3),
)
CLIP = (
    plain(
        (1, 1),
        (32, 64),
        partial(bottle, **POOLED),
        stem=partial(Stem, features=(8, 8, 16), pool=average_pool),
        pool=average_pool,
        head=partial(AttentionHead, size=(2, 2)),
    ),
    theirs(
        *(ByoBlockCfg("bottle", 1, c, s, None, 0.25) for c, s in ((32, 1), (64, 2))),
        img_size=16,
        stem_chs=(8, 8, 16),
        stem_type="",
        stem_pool="avg2",
        downsample="avg",
        aa_layer="avg",
        head_type="attn_abs",
    ),
    (3, 16, 16, 3),
)
PARTS = {  # ours, timm's and the shape of the input
    "edge, dark, basic and bottleneck": (ours(KINDS[0]), *KINDS[1:]),
    "inverted with evo norm": (ours(INVERTED[0]), *INVERTED[1:]),
    "clip": (ours(CLIP[0]), *CLIP[1:]),
    "context": (
        partial(context, 16),
        partial(TimmGlobalContext, 16, fuse_add=True, fuse_scale=False),
        (3, 5, 4, 16),
    ),
    "bilinear": (
        partial(BilinearAttention, 32, reduce_features=8, size=2, drop_rate=0),
        partial(BatNonLocalAttn, 32, block_size=2, drop_rate=0.0),
        (3, 6, 4, 32),
    ),
    "filter response norm": (
        partial(fb.FilterResponseNorm, 8),
        partial(FilterResponseNormTlu2d, 8),
        (2, 5, 4, 8),
    ),
}
SLOW = ("inverted with evo norm",)
EACH = [
    pytest.param(*part, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name, part in PARTS.items()
]


@pytest.mark.parametrize(("make", "make_torch", "shape"), EACH)
def test_parts_have_timms_names_outputs_gradients_and_statistics(make, make_torch, shape, x64):
    with ExactGradients():
        assert_part_is_timms(make, make_torch, shape)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "make_torch", "shape"), PARTS.values(), ids=PARTS)
def test_parts_train_as_timms(make, make_torch, shape):
    assert_part_trains_as_timms(make, make_torch, shape)


@pytest.mark.parametrize("size", [(5, 2), (2, 6)])
def test_positions_are_interpolated_as_timms_are(size: tuple[int, int], x64):
    pool = AttentionPool(4, size=(3, 4), head_features=2, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    held = torch.from_numpy(np.array(pool.positions[...]))
    grid = held[1:].reshape(1, 3, 4, 4).permute(0, 3, 1, 2)
    truth = torch.nn.functional.interpolate(grid, size, mode="bicubic", antialias=True)
    truth = torch.cat([held[:1], truth.permute(0, 2, 3, 1).reshape(-1, 4)])
    assert_equal(pool._positions(*size), truth, "output")


@pytest.mark.slow
def test_on_maps_of_another_size_the_pool_is_timms():
    twin = AttentionPool2d(8, (3, 4), head_dim=4, qkv_separate=True, out_features=0)
    pool = AttentionPool(8, size=(3, 4), head_features=4, rngs=nnx.Rngs(0))
    fb.load_state_dict(pool, twin.state_dict(), names="timm")
    x = np.random.default_rng(0).normal(size=(2, 5, 2, 8)).astype(np.float32)
    truth = twin(torch.from_numpy(x).permute(0, 3, 1, 2)).detach().numpy()
    np.testing.assert_allclose(np.asarray(pool(jnp.asarray(x))), truth, rtol=1e-5, atol=1e-6)


def test_a_context_starts_as_a_constant():
    gate = context(64, rngs=nnx.Rngs(0))
    assert not np.asarray(gate.expand.kernel[...]).any()
    assert 0.1 < np.asarray(gate.attend.kernel[...]).std() < 0.25  # sqrt(2 / 64) = 0.18


def test_a_shortcut_that_only_a_stride_needs_is_not_lost_by_dilation():
    with pytest.raises(ValueError, match="`output_stride` must be None for this network"):
        nnx.eval_shape(
            lambda: fb.create_model("timm/resnet33ts", output_stride=16, rngs=nnx.Rngs(0))
        )


def test_rows_that_the_blocks_do_not_divide_are_refused():
    gate = BilinearAttention(8, reduce_features=4, size=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="a height and a width that 2 divides, got 4 x 3"):
        nnx.eval_shape(lambda gate, x: gate(x), gate, jnp.ones((1, 4, 3, 8)))


def test_channels_that_heads_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="`head_features` must divide the 8 channels, got 3"):
        AttentionHead(8, 2, size=(3, 3), head_features=3, rngs=nnx.Rngs(0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["test_byobnet", "gcresnext26ts", "bat_resnext26ts", "gernet_s", "resnet50_clip"]
)
def test_each_tensor_is_drawn_from_timms_distribution(name: str):
    torch.manual_seed(0)
    theirs = timm.create_model(name).state_dict()
    ours = fb.state_dict(fb.create_model(f"timm/{name}", rngs=nnx.Rngs(0)), names="timm")
    for key, value in theirs.items():
        assert_same_distribution(key, ours[key].astype(np.float64), value.double().numpy())
