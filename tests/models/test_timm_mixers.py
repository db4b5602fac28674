"""Blocks of StarNet and InceptionNeXt, and small MetaFormers, are timm's."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import timm
import torch
from flax import nnx
from timm.layers.norm import GroupNorm1
from timm.models import inception_next, metaformer, starnet

import flaxblocks as fb
from flaxblocks.blocks.metaformer import NormFirstResidual, SelfAttention
from flaxblocks.blocks.perceptron_head import PerceptronHead
from flaxblocks.layers.star_relu import squared_relu
from flaxblocks.models import Backbone
from flaxblocks.models.convnext import Size
from flaxblocks.models.timm import metaformer as ours
from parity.checks import measure
from tests.helpers.arrays import TOLERANCE, assert_same_distribution
from tests.helpers.folded import randomized
from tests.helpers.networks import abstract
from tests.helpers.parts import assert_part_is_timms, assert_part_trains_as_timms

inception_block = partial(
    fb.ConvNeXtBlock,
    depthwise=partial(fb.InceptionConv, band=5),
    kernel_size=3,
    norm=fb.BatchNorm,
    pointwise=partial(fb.Conv, kernel_size=1),
)

band: Any = partial(inception_next.InceptionDWConv2d, band_kernel_size=5)

SHAPE = (3, 7, 9, 8)
PARTS: dict[str, Any] = {
    "star": (partial(fb.StarBlock, 8, 8, expansion=3), partial(starnet.Block, 8, 3)),
    "inception": (
        partial(inception_block, 8, layer_scale=0.5),
        partial(
            inception_next.MetaNeXtBlock,
            8,
            ls_init_value=0.5,
            token_mixer=band,
        ),
    ),
    "dilated inception": (
        partial(fb.InceptionConv, 8, share=1 / 4, dilation=2),
        partial(inception_next.InceptionDWConv2d, 8, branch_ratio=1 / 4, dilation=2),
    ),
}
WIDTHS = (8, 16, 32, 64)
make_theirs: Any = partial(metaformer.MetaFormer, num_classes=5, dims=WIDTHS, depths=(1, 1, 1, 1))
unshifted = metaformer.LayerNorm2dNoBias


def small(describe: Any, *args: Any) -> partial:
    return partial(Backbone, describe(Size(WIDTHS, (1, 1, 1, 1)), *args), num_classes=5)


NETWORKS = {
    "poolformer": (
        small(ours.poolformer, 0.5),
        partial(
            make_theirs,
            downsample_norm=None,
            mlp_act=torch.nn.GELU,
            mlp_bias=True,
            norm_layers=GroupNorm1,
            layer_scale_init_values=0.5,
            res_scale_init_values=None,
            use_mlp_head=False,
        ),
    ),
    "poolformer v2": (
        small(ours.poolformer_v2),
        partial(make_theirs, norm_layers=metaformer.GroupNorm1NoBias, use_mlp_head=False),
    ),
    "convformer": (
        small(ours.convformer),
        partial(make_theirs, token_mixers=metaformer.SepConv, norm_layers=unshifted),
    ),
    "caformer": (
        small(ours.caformer),
        partial(
            make_theirs,
            token_mixers=[metaformer.SepConv] * 2 + [metaformer.Attention] * 2,
            norm_layers=[unshifted] * 2 + [metaformer.LayerNormNoBias] * 2,
        ),
    ),
}
QUICK = ("star", "inception", "poolformer", "caformer")
EACH = [
    pytest.param(*part, shape, id=name, marks=[] if name in QUICK else pytest.mark.slow)
    for parts, shape in ((PARTS, SHAPE), (NETWORKS, (2, 69, 65, 3)))
    for name, part in parts.items()
]


@pytest.mark.parametrize(("make", "make_torch", "shape"), EACH)
def test_parts_have_timms_names_outputs_gradients_and_statistics(make, make_torch, shape, x64):
    assert_part_is_timms(make, make_torch, shape)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "make_torch", "shape"), EACH)
def test_parts_train_as_timms(make, make_torch, shape):
    assert_part_trains_as_timms(make, make_torch, shape)


DRAWN = {name: NETWORKS[name] for name in ("poolformer", "caformer")} | {
    name: (partial(fb.create_model, f"timm/{name}"), partial(timm.create_model, name))
    for name in ("starnet_s050", "inception_next_atto")
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "make_torch"), DRAWN.values(), ids=DRAWN)
def test_each_tensor_is_drawn_from_timms_distribution(make, make_torch):
    """Of small networks: of 2**24 numbers timm draws about one at -2, a hundred deviations away."""
    torch.manual_seed(0)
    theirs = make_torch().state_dict()
    drawn = fb.state_dict(make(rngs=nnx.Rngs(0)), names="timm")
    for key, value in theirs.items():
        assert_same_distribution(key, drawn[key].astype(np.float64), value.double().numpy())


@pytest.mark.parametrize(
    "make",
    [partial(inception_block, 8), partial(fb.NormConv, 8, 12, norm=fb.BatchNorm)],
    ids=["block", "downsampling"],
)
def test_a_normalization_is_folded_into_the_layer_after_it(make, x64):
    module = randomized(make(param_dtype=jnp.float64, rngs=nnx.Rngs(0)))
    module.eval()
    x = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))

    fast = fb.for_inference(module)

    run = jax.jit(lambda module, x: module(x))
    assert fast.norm is None
    assert measure.scaled_error(run(fast, x), run(module, x)) <= TOLERANCE


@pytest.mark.parametrize(
    "options", [{"padding": 1}, {"padding": "SAME"}, {"act": fb.activations.relu}]
)
def test_a_normalization_before_padding_or_an_activation_stays(options: dict):
    make = partial(fb.NormConv, 8, 12, norm=fb.BatchNorm, kernel_size=3, **options)
    module = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))
    fast: Any = nnx.eval_shape(fb.for_inference, module)
    assert fast.norm is not None


def test_stages_double_the_width_and_the_last_expands_less():
    star = abstract("timm/starnet_s050")
    assert [(info.features, info.stride) for info in star.feature_info] == [
        (16, 4),
        (32, 8),
        (64, 16),
        (128, 32),
    ]
    inception = abstract("timm/inception_next_atto")
    wide = [stage.blocks[0].expand.out_features for stage in inception.stages]
    assert wide == [160, 320, 640, 960]


def test_a_dilated_stage_of_inception_next_is_timms():
    name = "inception_next_atto"
    network: Any = nnx.eval_shape(
        lambda: fb.create_model(f"timm/{name}", output_stride=8, rngs=nnx.Rngs(0))
    )
    theirs: Any = timm.create_model(name, output_stride=8)
    for mine, twin in zip(network.stages[2:], list(theirs.stages)[2:], strict=True):
        conv = mine.blocks[0].depthwise.wide
        assert conv.kernel_dilation == twin.blocks[0].token_mixer.dwconv_w.dilation
        assert mine.downsample.conv.kernel_dilation == twin.downsample[1].dilation


def test_shares_that_do_not_fit_are_refused():
    for share in (0.4, 0.05):
        with pytest.raises(ValueError, match=f"`share` must give three parts .* got {share}"):
            fb.InceptionConv(8, share=share, rngs=nnx.Rngs(0))


def test_a_star_keeps_the_shape():
    with pytest.raises(ValueError, match="`stride` must be 1 "):
        fb.StarBlock(8, 8, stride=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`out_features` must be `in_features`, 8, got 12"):
        fb.StarBlock(8, 12, rngs=nnx.Rngs(0))


def test_both_branches_of_a_block_drop_at_its_rate():
    make = small(ours.poolformer_v2)
    network: Any = nnx.eval_shape(lambda: make(drop_path_rate=0.3, rngs=nnx.Rngs(0)))
    theirs = make_theirs(drop_path_rate=0.3)
    rates = [
        0.0 if branch.drop_path is None else branch.drop_path.rate
        for stage in network.stages
        for branch in stage.blocks
    ]
    blocks = [block for stage in theirs.stages for block in stage.blocks]
    drops = [drop for block in blocks for drop in (block.drop_path1, block.drop_path2)]
    assert rates == pytest.approx([getattr(drop, "drop_prob", 0.0) for drop in drops])


def test_a_new_number_of_classes_replaces_the_whole_perceptron():
    def head(*classes: int) -> Any:
        made = PerceptronHead(8, 5, norm=fb.LayerNorm, act=squared_relu, rngs=nnx.Rngs(0))
        for count in classes:
            made.reset_classifier(count, rngs=nnx.Rngs(1))
        return made

    first, second, none = head(), head(3), head(3, 0)
    assert second.classifier.out_features == 3
    assert (first.expand.kernel[...] != second.expand.kernel[...]).any()
    assert none.expand is none.expand_norm is none.classifier is None
    assert none.pooled_features == 8 and none(jnp.ones((1, 3, 3, 8))).shape == (1, 8)


def test_a_branch_keeps_the_shape_and_heads_fill_the_channels():
    with pytest.raises(ValueError, match="`out_features` must be `in_features`, 8, got 12"):
        NormFirstResidual(8, 12, layer=ours.pooling, norm=None, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`head_features` must divide the 8 channels, got 3"):
        SelfAttention(8, 8, head_features=3, rngs=nnx.Rngs(0))
