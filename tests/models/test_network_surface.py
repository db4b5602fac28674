"""Feature maps, new classifiers, other norms and activations, and what is printed."""

import re
from functools import partial
from inspect import signature
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import timm
import torch
from flax import nnx
from timm.layers.norm import GroupNorm

import flaxblocks as fb
from flaxblocks.layers.scopes import Scoped
from flaxblocks.models import Backbone, Stage
from flaxblocks.models.foreign import FOREIGN
from parity.checks import measure
from parity.checks.tolerance import bound
from tests.helpers import tolerance
from tests.helpers.networks import (
    abstract,
    flax_network,
    run_by_blocks,
    run_torch,
    with_random_weights,
)
from tests.helpers.typed import instance, present

pytestmark = pytest.mark.usefixtures("quick")

X = jnp.ones((1, 33, 33, 3))
NORM = partial(nnx.GroupNorm, num_groups=16, epsilon=1e-5, use_fast_variance=False)


def shapes(network: Backbone, **options) -> list[tuple[int, ...]]:
    maps = nnx.eval_shape(lambda network, x: network.features(x, **options), network, X)
    return [leaf.shape for leaf in maps]


@pytest.mark.parametrize("indices", [(0,), (1, 3), (-1,), (-2, 0), (2, 2), ()])
def test_features_of_some_stages_are_those_of_all(indices: tuple[int, ...]):
    network = abstract("resnet18")
    every = shapes(network)
    assert shapes(network, indices=indices) == [every[index] for index in indices]


def test_stages_after_the_last_index_are_not_computed(monkeypatch: pytest.MonkeyPatch):
    network, called = abstract("resnet18"), []
    call = Stage.__call__
    monkeypatch.setattr(Stage, "__call__", lambda self, x: (called.append(1), call(self, x))[1])
    shapes(network, indices=(1, -4))
    assert len(called) == 2


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("index,error", [(4, ValueError), (-5, ValueError), (1.0, TypeError)])
def test_a_bad_index_is_refused(index: object, error: type[Exception]):
    with pytest.raises(error, match=f"`indices` must .*, got {index}"):
        shapes(abstract("resnet18"), indices=(index,))


@pytest.mark.parametrize(
    "argument,ours",
    [
        ("pretrained", "`weights`"),
        ("in_chans", "`in_features`"),
        ("features_only", "`features`"),
        ("global_pool", "`forward_features`"),
        ("drop_path", "`drop_path_rate`"),
        ("norm_layer", "`norm`"),
        ("replace_stride_with_dilation", "`output_stride`"),
    ],
)
def test_an_argument_of_timms_or_torchvisions_is_answered_with_ours(argument: str, ours: str):
    with pytest.raises(TypeError, match=rf"`{argument}`: .*{ours}"):
        wrong: dict[str, Any] = {argument: True}
        fb.create_model("resnet18", **wrong)


def test_every_answer_is_needed_and_names_what_there_is():
    parameters = signature(fb.create_model).parameters
    assert not FOREIGN.keys() & parameters.keys()
    named = {name for text in FOREIGN.values() for name in re.findall(r"`(\w+)`|\b(\w+)=", text)}
    known = {*parameters, *dir(Backbone), "indices", "epsilon", "momentum"}
    assert {name for pair in named for name in pair if name} <= known


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("rngs", [0, jax.random.key(0), np.random.default_rng(0), None])
def test_a_network_says_what_rngs_are(rngs: Any):
    with pytest.raises(TypeError, match=r"`rngs` must be nnx.Rngs, made of a seed or a key"):
        fb.create_model("resnet18", rngs=rngs)


@pytest.fixture(scope="module")
def network() -> Backbone:
    network = fb.create_model("timm/test_efficientnet", drop_rate=0.5, rngs=nnx.Rngs(0))
    network.eval()
    return network


def test_the_two_halves_make_the_whole(network: Backbone):
    @nnx.jit
    def run(network: Backbone, x: jax.Array) -> tuple[jax.Array, ...]:
        features = network.forward_features(x)
        pooled = network.forward_head(features, pre_logits=True)
        halves = network.forward_head(features), present(network.head.classifier)(pooled)
        return network(x), *halves, features, pooled

    whole, joined, classified, features, pooled = run(network, X)
    assert features.shape[-1] == network.feature_info[-1].features
    np.testing.assert_array_equal(joined, whole)
    assert pooled.shape == (1, network.num_features)
    np.testing.assert_array_equal(classified, whole)


def test_a_new_classifier_is_drawn_as_the_networks_own_and_nothing_else_changes():
    network = fb.create_model("mobilenet_v2", rngs=nnx.Rngs(0))
    network.eval()
    before = nnx.state(network, nnx.Param)
    network.reset_classifier(400, rngs=nnx.Rngs(1))
    classifier = present(network.head.classifier)
    kernel = classifier.kernel[...]
    assert kernel.shape == (1280, 400)
    # torchvision's rule: normal of deviation 0.01, where a linear layer's own is uniform.
    assert (
        abs(float(kernel.std()) / 0.01 - 1) < tolerance.bound("any", "statistic of a sample") / 700
    )
    assert not present(classifier.bias)[...].any()
    assert present(network.head.dropout).deterministic
    network.train()
    network.reset_classifier(0, rngs=nnx.Rngs(1))
    assert network.head.classifier is None and network.head.dropout is None
    network.reset_classifier(7, rngs=nnx.Rngs(1))
    dropout = instance(network.head.dropout, nnx.Dropout)
    assert not dropout.deterministic and dropout.rate == 0.2
    after = nnx.state(network, nnx.Param)
    for part in ("stem", "stages"):
        jax.tree.map(np.testing.assert_array_equal, after[part], before[part])


def test_a_norm_for_all_makes_timms_network_of_group_norms():
    ours = fb.create_model("timm/test_resnet", norm=NORM, rngs=nnx.Rngs(0))
    kinds = {type(m) for _, m in nnx.iter_modules(ours) if "Norm" in type(m).__name__}
    assert kinds == {nnx.GroupNorm, fb.ConvNormAct}
    assert {type(v) for _, v in nnx.to_flat_state(nnx.state(ours))} == {nnx.Param}
    # The last norm of each branch starts at 0 all the same.
    assert not ours.stages[0].blocks[0].second.norm.scale[...].any()


def test_other_norms_and_activations_equal_timms_in_float64(x64):
    image = np.random.default_rng(1).normal(size=(1, 49, 33, 3))
    twin = timm.create_model(
        "test_resnet",
        act_layer=torch.nn.SiLU,
        norm_layer=partial(GroupNorm, num_groups=16),
    )
    twin = with_random_weights(twin.double(), image).eval()
    options = {"act": jax.nn.silu, "norm": NORM}
    network = flax_network("timm/test_resnet", twin.state_dict(), **options)
    network.eval()
    ours, truth = np.asarray(run_by_blocks(network, image)), run_torch(twin, image)
    assert measure.scaled_error(ours, truth, np.abs(truth).max()) <= bound("float64", "output")


def test_gates_keep_their_activations():
    network = nnx.eval_shape(
        lambda: fb.create_model("mobilenet_v3_small", act=jax.nn.silu, rngs=nnx.Rngs(0))
    )
    gate = network.stages[0].blocks[0].se
    assert (gate.act, gate.gate) == (fb.activations.relu, fb.activations.hard_sigmoid)
    assert network.head.act is jax.nn.silu


@pytest.mark.parametrize("name", ["resnet50", "timm/mobilenetv4_conv_small", "timm/regnetz_005"])
def test_repr_is_a_short_summary(name: str):
    network = abstract(name)
    lines = repr(network).splitlines()
    assert str(network) == repr(network)
    assert len(lines) == len(network.stages) + 3 and max(map(len, lines)) <= 200
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))
    assert lines[0] == f"{name}: {count:,} parameters"
    assert len(nnx.Module.__repr__(network)) > 50_000


@pytest.mark.parametrize(
    "module,text",
    [
        (
            partial(fb.Conv, 3, 8, (3, 5), stride=2),
            "Conv(3, 8, (3, 5), stride=2, padding=((1, 1), (2, 2)))",
        ),
        (partial(fb.BatchNorm, 8), "BatchNorm(8)"),
        (partial(fb.BatchNorm, 8, epsilon=1e-3), "BatchNorm(8, epsilon=0.001)"),
        (partial(fb.StochasticDepth, 0.5), "StochasticDepth(rate=0.5)"),
        (
            partial(fb.ConvNormAct, 3, 8, norm=None, act=fb.activations.silu),
            "ConvNormAct(conv=Conv(3, 8, 3, padding=1), norm=None, act=silu)",
        ),
    ],
)
def test_a_layer_is_printed_as_a_call_that_makes_it(module, text: str):
    assert repr(module(rngs=nnx.Rngs(0))) == str(module(rngs=nnx.Rngs(0))) == text


def test_every_block_is_printed_in_a_few_lines():
    for name in ("resnet18", "timm/test_efficientnet", "timm/test_convnext"):
        for _, module in nnx.iter_modules(abstract(name)):
            if isinstance(module, Scoped):
                assert len(repr(module)) <= 1500 and max(map(len, repr(module).split("\n"))) <= 100
    block = fb.MBConv(32, 64, 4, rngs=nnx.Rngs(0))
    assert repr(block).splitlines()[1] == (
        "  expand=ConvNormAct(conv=Conv(32, 128, 1, padding=0), norm=BatchNorm(128), act=relu6),"
    )
    assert "kernel=Param(" in nnx.Module.__repr__(block)
