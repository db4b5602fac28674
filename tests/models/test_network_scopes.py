"""Profiles and compiled programs name operations by their modules' paths."""

import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.models import Backbone

X = jax.ShapeDtypeStruct((2, 33, 33, 3), jnp.float32)
CONV = "stages.3/blocks.0/depthwise/conv/"


def names_in(network: nnx.Module) -> set[str]:
    """Return the names of the operations in a program without values."""
    graphdef, state = nnx.split(network)

    def call(state: nnx.State, x: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, state)(x)

    text = jax.jit(call).lower(state, X).as_text(debug_info=True)
    return set(re.findall(r'"jit\(call\)/([^"]*)"', text))


@pytest.fixture(scope="module")
def network() -> Backbone:
    return nnx.eval_shape(lambda: fb.create_model("timm/test_efficientnet", rngs=nnx.Rngs(0)))


def test_operations_are_named_by_the_paths_of_their_modules(network: Backbone):
    network.eval()
    names = names_in(network)
    assert any(name.startswith(CONV) for name in names)
    modules = {".".join(map(str, path)) for path, _ in nnx.iter_modules(network)}
    for part in ("stem.layers.0.norm", "stages.3.blocks.0.se.reduce", "head.classifier"):
        assert part in modules
        assert any(name.replace("/", ".").startswith(f"{part}.") for name in names), part


def test_operations_that_are_computed_again_keep_their_names(network: Backbone):
    network.eval()
    network.set_rematerialization()
    names = names_in(network)
    network.set_rematerialization(False)
    assert any(re.fullmatch(r"stages.3/.*blocks.0/depthwise/conv/.*", name) for name in names)


def test_a_module_of_its_own_has_its_parts_names_and_none_above():
    unit = nnx.eval_shape(lambda: fb.ConvNormAct(3, 4, rngs=nnx.Rngs(0)))
    names = names_in(unit)
    assert any(name.startswith("conv/") for name in names)


def test_equal_blocks_stay_equal_wherever_they_stand():
    blocks = nnx.eval_shape(lambda: fb.create_model("resnet34", rngs=nnx.Rngs(0))).stages[2].blocks
    nnx.eval_shape(lambda block, x: block(x), blocks[1], jnp.ones((2, 5, 5, 256)))
    assert nnx.graphdef(blocks[1]) == nnx.graphdef(blocks[2])
