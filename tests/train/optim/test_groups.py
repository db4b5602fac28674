"""Layer-wise decay has timm's layers, and each parameter is updated by its own group."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from timm.optim._param_groups import param_groups_layer_decay

import flaxblocks as fb
from flaxblocks.train import parameter_groups, scale_layers, selected_by, under
from torch_ref.harness.vendors import make_network

DECAY = 0.75
NETWORKS = ["resnet18d", "efficientnet_b0", "mobilenetv3_small_100", "convnext_atto", "regnety_002"]


def scales(name: str) -> dict[str, float]:
    """Return by what each parameter's update is scaled, by timm's names."""
    rates: dict[str, Any] = {"drop_rate": 0.0, "drop_path_rate": 0.0}
    model = nnx.eval_shape(lambda: fb.create_model(name, rngs=nnx.Rngs(0), **rates))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    update = scale_layers(DECAY)
    ones = jax.tree.map(lambda leaf: 1.0, params)
    scaled, _ = update.update(ones, update.init(ones))
    filled = jax.tree.map(lambda scale, p: np.broadcast_to(scale, p.shape), scaled, params)
    statistics = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), statistics)
    for values in (filled, zeros):
        nnx.update(model, values)
    return {key: float(value.flat[0]) for key, value in fb.state_dict(model, names="timm").items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layers_are_timms(name: str):
    theirs = make_network("timm", name)
    groups = param_groups_layer_decay(theirs, layer_decay=DECAY)
    expected = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    ours = scales(f"timm/{name}")
    for key, parameter in theirs.named_parameters():
        assert ours[key] == pytest.approx(expected[id(parameter)]), key


def test_scaling_after_an_optimizer_scales_its_learning_rate():
    params = {"stem": {"k": jnp.ones(2)}, "head": {"k": jnp.ones(2)}}
    scaled = optax.chain(optax.adamw(0.1, weight_decay=0.5), scale_layers(0.5))
    updates: list[Any] = [
        optimizer.update(params, optimizer.init(params), params)[0]
        for optimizer in (scaled, optax.adamw(0.1, weight_decay=0.5))
    ]
    np.testing.assert_allclose(updates[0]["head"]["k"], updates[1]["head"]["k"])
    np.testing.assert_allclose(updates[0]["stem"]["k"], updates[1]["stem"]["k"] / 2)


def test_layers_of_another_network_are_given():
    params = {"b": jnp.ones(1), "a": jnp.ones(1), "c": jnp.ones(1)}
    with pytest.raises(ValueError, match="`layers_of` must be given for a network without"):
        scale_layers(0.5).update(params, optax.EmptyState())
    update = scale_layers(0.5, lambda paths: [path[0] for path in paths]).update
    scaled: Any = update(params, optax.EmptyState())[0]
    assert [float(scaled[name][0]) for name in "abc"] == [0.25, 0.5, 1]


PARAMS = {
    "stem": {"kernel": np.ones((2, 2)), "bias": np.ones(2)},
    "stages": {0: {"kernel": np.ones((2, 2))}, 10: {"kernel": np.ones((2, 2))}},
}


def test_each_parameter_is_updated_by_the_first_group_that_selects_it():
    optimizer = parameter_groups(
        (lambda path, value: value.ndim < 2, optax.sgd(1.0)),
        (under("stages.1", "stem"), optax.sgd(2.0)),
        (..., optax.chain(optax.add_decayed_weights(0.5), optax.sgd(4.0))),
    )
    updates, _ = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    assert jax.tree.map(lambda leaf: float(leaf.flat[0]), updates) == {
        "stem": {"kernel": -2, "bias": -1},
        "stages": {0: {"kernel": -6}, 10: {"kernel": -6}},
    }


def test_a_parameter_without_a_group_is_named():
    optimizer = parameter_groups((under("stem", "stages.0"), optax.sgd(1.0)))
    with pytest.raises(ValueError, match=r"got none for stages\.10\.kernel"):
        optimizer.init(PARAMS)


def test_a_filter_makes_a_mask_for_optax():
    decayed = optax.add_decayed_weights(0.5, selected_by(nnx.Not(under("stages"))))
    updates, _ = decayed.update(PARAMS, decayed.init(PARAMS), PARAMS)
    assert jax.tree.map(lambda leaf: float(leaf.flat[0]), updates) == {
        "stem": {"kernel": 1.5, "bias": 1.5},
        "stages": {0: {"kernel": 1}, 10: {"kernel": 1}},
    }


def test_refuses_a_decay_out_of_range():
    with pytest.raises(ValueError, match="`decay` must lie between 0 and 1, got 2"):
        scale_layers(2)
