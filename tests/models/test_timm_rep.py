"""Parallel convolutions are timm's, and what `for_inference` makes of them is what timm does."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import timm
import torch
from flax import nnx
from timm.layers.squeeze_excite import SEModule
from timm.models import byobnet, ghostnet, repghost
from timm.models import repvit as timm_repvit
from timm.models._manipulate import reparameterize_model

import flaxblocks as fb
from flaxblocks.blocks.ghost_bottleneck import GhostBottleNeck
from flaxblocks.blocks.repvit_downsample import RepViTDownsample
from flaxblocks.models.timm import repvit
from flaxblocks.models.timm.ghostnet import gate as ghost_gate
from flaxblocks.models.timm.ghostnet import (
    gated_ghost_v3,
    ghost_v2,
    ghost_v3,
    primary,
    rep_ghost,
)
from flaxblocks.models.timm.rep import squeeze_excite
from parity.checks import measure
from parity.sides.weights import randomize
from tests.helpers.arrays import assert_same_distribution
from tests.helpers.networks import flax_network, run_by_blocks, run_torch, torch_network
from tests.helpers.parts import assert_part_is_timms, assert_part_trains_as_timms
from torch_ref.harness.layout import from_nhwc

FOLDED = 1e-12  # of the value's scale: a few sums and products more, in float64

squeezing: Any = partial(SEModule, rd_divisor=1)  # timm takes more than its types say
gated = byobnet.LayerFn(attn=squeezing)
PARTS = {  # ours, timm's and the channels of the input
    "repvgg": (
        partial(fb.RepConv, 8, 8, groups=2, se=partial(squeeze_excite, divisor=1)),
        partial(byobnet.RepVggBlock, 8, 8, group_size=4, layers=gated),
    ),
    "repvgg with stride": (
        partial(fb.RepConv, 8, 12, stride=2),
        partial(byobnet.RepVggBlock, 8, 12, stride=2),
    ),
    "mobileone": (
        partial(fb.RepConv, 8, 8, branches=3, groups=8),
        partial(byobnet.MobileOneBlock, 8, 8, num_conv_branches=3, group_size=1),
    ),
    "mobileone pointwise": (
        partial(fb.RepConv, 8, 8, 1, branches=2),
        partial(byobnet.MobileOneBlock, 8, 8, 1, num_conv_branches=2),
    ),
    "repghost": (
        partial(GhostBottleNeck, 8, 8, hidden_features=12, expand=rep_ghost, project=rep_ghost),
        partial(repghost.RepGhostBottleneck, 8, 12, 8),
    ),
    "ghost v3": (
        partial(
            GhostBottleNeck,
            8,
            12,
            hidden_features=16,
            kernel_size=5,
            stride=2,
            expand=gated_ghost_v3,
            project=ghost_v3,
            depthwise=primary,
        ),
        partial(ghostnet.GhostBottleneckV3, 8, 16, 12, 5, 2, mode="shortcut"),
    ),
    "repvit": (
        partial(
            RepViTDownsample,
            8,
            12,
            stride=2,
            spatial=partial(repvit.spatial, legacy=False),
            mix=repvit.mix,
        ),
        partial(timm_repvit.RepVitDownsample, 8, 2, 12, 3, act_layer=torch.nn.GELU),
    ),
    "repvit legacy": (
        partial(
            RepViTDownsample,
            8,
            12,
            stride=2,
            spatial=partial(repvit.spatial, legacy=True),
            mix=repvit.mix,
        ),
        partial(timm_repvit.RepVitDownsample, 8, 2, 12, 3, act_layer=torch.nn.GELU, legacy=True),
    ),
}
PLAIN = {  # without parallel convolutions
    "ghost with a gate": (
        partial(GhostBottleNeck, 8, 10, hidden_features=16, stride=2, se=ghost_gate),
        partial(ghostnet.GhostBottleneck, 8, 16, 10, stride=2, se_ratio=0.25),
    ),
    "ghost v2": (
        partial(GhostBottleNeck, 8, 8, hidden_features=16, expand=ghost_v2),
        partial(ghostnet.GhostBottleneck, 8, 16, 8, mode="attn"),
    ),
}
QUICK = ("repvgg", "mobileone", "repghost", "ghost v2")
SHAPE = (3, 7, 5, 8)


def marked(parts: Mapping[str, tuple]) -> list:
    """Return the parts for a test, all but the quick ones marked as slow."""
    return [
        pytest.param(*part, id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for name, part in parts.items()
    ]


@pytest.mark.parametrize("make,make_torch", marked(PARTS | PLAIN))
def test_blocks_have_timms_names_outputs_gradients_and_statistics(make, make_torch, x64):
    assert_part_is_timms(make, make_torch, SHAPE)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS | PLAIN)
def test_blocks_train_as_timms(name: str):
    make, make_torch = (PARTS | PLAIN)[name]
    assert_part_trains_as_timms(make, make_torch, SHAPE)


@pytest.mark.parametrize("make,make_torch", marked(PARTS))
def test_a_folded_block_is_the_trained_one_and_timms_reparameterized(make, make_torch, x64):
    rng = np.random.default_rng(0)
    twin = make_torch().double().eval()
    randomize(twin, rng)
    module = make(param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    fb.load_state_dict(module, twin.state_dict(), names="timm")
    module.eval()
    x = rng.normal(size=SHAPE)

    folded = fb.for_inference(module)
    truth = twin(from_nhwc(x)).permute(0, 2, 3, 1).detach().numpy()
    plain = reparameterized(twin)

    run = jax.jit(lambda module, x: module(x))
    assert measure.scaled_error(run(folded, x), truth) <= FOLDED
    assert measure.scaled_error(run(folded, x), run(module, x)) <= FOLDED
    assert_same_tensors(folded, plain)


def reparameterized(twin: torch.nn.Module) -> torch.nn.Module:
    """Return what timm makes of a module for inference, in float64."""
    torch.set_default_dtype(torch.float64)  # of the layers that it makes
    try:
        (plain,) = reparameterize_model(torch.nn.Sequential(twin)).children()
        return plain
    finally:
        torch.set_default_dtype(torch.float32)


def assert_same_tensors(folded: nnx.Module, plain: torch.nn.Module) -> None:
    """Fail unless each convolution that timm made, which has a bias, is ours by name and value."""
    ours, theirs = fb.state_dict(folded, names="timm"), plain.state_dict()
    made = [name.removesuffix("bias") for name in theirs if name.endswith(".bias")]
    made = [name for name in made if theirs[f"{name}weight"].ndim > 1]
    assert made
    for name in (f"{name}{leaf}" for name in made for leaf in ("weight", "bias")):
        assert measure.scaled_error(ours[name], theirs[name].numpy()) <= FOLDED, name


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "repvgg_a0",
        "repvgg_b1g4",
        "mobileone_s0",
        "mobileone_s4",
        "repghostnet_050",
        "ghostnetv3_050",
        "repvit_m0_9",
        "repvit_m1",
    ],
)
def test_a_folded_network_is_timms_reparameterized(name: str, x64):
    image = np.random.default_rng(1).normal(size=(2, 69, 65, 3))
    twin = torch_network(f"timm/{name}", image).eval()
    network = flax_network(f"timm/{name}", twin.state_dict())
    truth = run_torch(twin, image)

    folded = fb.for_inference(network)
    plain = reparameterized(twin)

    assert np.std(truth[0] - truth[1]) > 1e-3 * np.std(truth)  # the image is not lost on the way
    assert measure.scaled_error(run_torch(plain, image), truth) <= FOLDED
    assert measure.scaled_error(np.asarray(run_by_blocks(folded, image)), truth) <= FOLDED
    assert_same_tensors(folded, plain)


def test_a_normalization_that_depends_on_the_image_stays():
    norm = partial(nnx.GroupNorm, num_groups=2)
    block = nnx.eval_shape(lambda: fb.RepConv(8, 8, norm=norm, skip=norm, rngs=nnx.Rngs(0)))
    folded: Any = nnx.eval_shape(fb.for_inference, block)
    assert isinstance(folded.convs[0].norm, nnx.GroupNorm)
    assert folded.point is not None and folded.skip is not None


def test_a_kernel_without_a_center_is_refused():
    with pytest.raises(ValueError, match=r"`kernel_size` must be odd, .* got \(4, 3\)"):
        fb.RepConv(8, 8, (4, 3), rngs=nnx.Rngs(0))


def test_training_drops_convolutions_and_keeps_the_input():
    block = fb.RepConv(4, 4, drop_path=1.0, skip=None, rngs=nnx.Rngs(0))
    assert block.drop_path is None  # nothing would be left
    block = fb.RepConv(4, 4, drop_path=1.0, act=None, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3, 4)), jnp.float32)
    kept = nnx.jit(lambda block, x: block(x) - block.skip(x))(block, x)
    np.testing.assert_array_equal(kept, np.zeros_like(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0", "repvit_m0_9", "ghostnet_050"])
def test_each_tensor_is_drawn_from_timms_distribution(name: str):
    torch.manual_seed(0)
    theirs = timm.create_model(name).state_dict()
    ours = fb.state_dict(fb.create_model(f"timm/{name}", rngs=nnx.Rngs(0)), names="timm")
    for key, value in theirs.items():
        assert_same_distribution(key, ours[key].astype(np.float64), value.double().numpy())
