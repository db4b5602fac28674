"""torchvision's networks by name: what they are called, their size, what goes in and out."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.models import Backbone
from tests.helpers.networks import PUBLISHED, abstract, each_family
from tests.helpers.typed import present


def _make(name: str, **options) -> Backbone:
    return nnx.eval_shape(lambda: fb.create_model(name, rngs=nnx.Rngs(0), **options))


def _shapes(network: nnx.Module, image: tuple[int, ...]) -> list[tuple[int, ...]]:
    maps = nnx.eval_shape(
        lambda net, x: net.features(x), network, jax.ShapeDtypeStruct(image, jnp.float32)
    )
    return [map.shape for map in maps]


def test_lists_torchvisions_networks():
    names = [name for name in fb.list_models(task="classification") if "/" not in name]
    assert names == sorted(PUBLISHED)
    assert len(names) == 68
    assert len(fb.list_models(task="segmentation")) == 6


def test_lists_what_a_pattern_matches():
    assert fb.list_models("mnasnet*") == ["mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"]
    assert fb.list_models("resnet[0-9][05]") == ["resnet50"]
    assert fb.list_models("nothing") == []


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(ValueError, match=r"`name` .* got 'resnet5'; the nearest .*resnet50"):
        fb.create_model("resnet5", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="see list_models"):
        fb.create_model("", rngs=nnx.Rngs(0))


@each_family
def test_features_are_what_feature_info_says(name: str):
    network = abstract(name)
    shapes = _shapes(network, (2, 96, 64, 3))
    assert shapes == [
        (2, 96 // info.stride, 64 // info.stride, info.features) for info in network.feature_info
    ]
    assert network.feature_info[-1].stride == 32
    assert len({info.stride for info in network.feature_info}) >= 4


@each_family
def test_without_classes_the_pooled_features_come_out(name: str):
    network = _make(name, num_classes=0)
    y = nnx.eval_shape(
        lambda net, x: net(x), network, jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    )
    assert y.shape == (2, network.num_features)
    assert network.head.classifier is None and network.head.dropout is None
    with_classes = present(abstract(name).head.classifier)
    assert with_classes.in_features == network.num_features


@each_family
def test_takes_any_number_of_channels_and_computes_in_dtype(name: str):
    """Parameters stay in `param_dtype`."""
    network = _make(
        name, in_features=5, num_classes=7, dtype=jnp.bfloat16, drop_rate=0.5, drop_path_rate=0.5
    )
    image = jax.ShapeDtypeStruct((2, 64, 64, 5), jnp.float32)
    y = nnx.eval_shape(lambda net, x: net(x), network, image)
    assert (y.shape, y.dtype) == ((2, 7), jnp.bfloat16)
    assert {p.dtype for p in jax.tree.leaves(nnx.state(network, nnx.Param))} == {
        jnp.dtype("float32")
    }


@pytest.mark.parametrize(
    "options,named",
    [
        ({"num_classes": -1}, "num_classes"),
        ({"in_features": 0}, "in_features"),
        ({"drop_rate": 1.5}, "drop_rate"),
        ({"drop_path_rate": -0.1}, "drop_path_rate"),
    ],
)
def test_refuses_what_is_out_of_range(options: dict, named: str):
    with pytest.raises(ValueError, match=f"`{named}` must"):
        _make("mobilenet_v3_small", **options)


def test_refuses_images_of_the_wrong_layout():
    with pytest.raises(ValueError, match="looks like the channels"):
        abstract("mobilenet_v3_small")(jnp.ones((1, 3, 32, 32)))


def test_equal_networks_are_compiled_once():
    """Two networks of one architecture have the same static description, as NNX needs it."""
    first, second = (_make("mobilenet_v3_small") for _ in range(2))
    assert nnx.graphdef(first) == nnx.graphdef(second)
    assert hash(nnx.graphdef(first)) == hash(nnx.graphdef(second))
