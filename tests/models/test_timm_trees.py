"""DLA's trees and ReXNet's blocks are timm's."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from timm.models import dla, rexnet

import flaxblocks as fb
from flaxblocks.blocks.aggregation import AggregationTree
from flaxblocks.blocks.growing import GrowingBottleneck
from flaxblocks.layers.squeeze_excite import SqueezeNormExcite
from flaxblocks.models.timm.dla import basic, bottleneck
from tests.helpers.networks import abstract
from tests.helpers.parts import assert_part_is_timms, assert_part_trains_as_timms

gate = partial(SqueezeNormExcite, squeeze_features=2)
QUICK: dict[str, Any] = {
    "tree of trees": (
        partial(AggregationTree, 8, 12, levels=2, block=basic, stride=2, reads_input=True),
        partial(dla.DlaTree, 2, dla.DlaBasic, 8, 12, 2, level_root=True),
    ),
    "growing": (
        partial(GrowingBottleneck, 8, 10, hidden_features=16, se=gate),
        partial(rexnet.LinearBottleneck, 8, 10, 1, exp_ratio=2.0, se_ratio=1 / 8),
    ),
}
SLOW = {
    "tree with residual roots": (
        partial(AggregationTree, 8, 16, levels=1, block=bottleneck, root_residual=True),
        partial(dla.DlaTree, 1, dla.DlaBottleneck, 8, 16, 1, root_shortcut=True),
    ),
    "tree of several scales": (
        partial(
            AggregationTree,
            8,
            64,
            levels=1,
            block=partial(bottleneck, base_width=8, scale=4),
            stride=2,
        ),
        partial(dla.DlaTree, 1, dla.DlaBottle2neck, 8, 64, 2, base_width=8),
    ),
    "growing with stride": (
        partial(GrowingBottleneck, 8, 10, hidden_features=8, stride=2),
        partial(rexnet.LinearBottleneck, 8, 10, 2),
    ),
}
EACH = [
    *(pytest.param(*part, id=name) for name, part in QUICK.items()),
    *(pytest.param(*part, id=name, marks=pytest.mark.slow) for name, part in SLOW.items()),
]


@pytest.mark.parametrize(("make", "make_torch"), EACH)
def test_parts_have_timms_names_outputs_gradients_and_statistics(make, make_torch, x64):
    assert_part_is_timms(make, make_torch, (3, 6, 4, 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK | SLOW)
def test_parts_train_as_timms(name: str):
    make, make_torch = (QUICK | SLOW)[name]
    assert_part_trains_as_timms(make, make_torch, (3, 6, 4, 8))


def test_a_gates_normalization_is_folded():
    se = nnx.eval_shape(lambda: SqueezeNormExcite(8, squeeze_features=2, rngs=nnx.Rngs(0)))
    folded: Any = nnx.eval_shape(fb.for_inference, se)
    assert folded.norm is None


def test_a_dilated_stage_begins_without_a_residual():
    network = nnx.eval_shape(
        lambda: fb.create_model("timm/rexnet_100", output_stride=16, rngs=nnx.Rngs(0))
    )
    assert [block.residual for block in network.stages[4].blocks] == [False, *[True] * 4]
    plain = abstract("timm/rexnet_100").stages[4].blocks
    assert [block.residual for block in plain] == [False, *[True] * 4]


def test_a_growing_block_keeps_what_it_does_not_add_to():
    block = GrowingBottleneck(4, 6, hidden_features=4, drop_path=1.0, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3, 4)), jnp.float32)
    y = nnx.jit(lambda block, x: block(x))(block, x)
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (0, 0), (0, 0), (0, 2))))


@pytest.mark.parametrize("option", [{"drop_path_rate": 0.1}, {"output_stride": 16}])
def test_what_a_dla_cannot_do_is_said(option: dict):
    (name,) = option
    with pytest.raises(ValueError, match=rf"`{name}` must be (0|None) "):
        nnx.eval_shape(lambda: fb.create_model("timm/dla34", **option, rngs=nnx.Rngs(0)))
