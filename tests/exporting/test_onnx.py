"""What ONNX graphs look like: nothing but what ONNX Runtime has a fast kernel for."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from flax import nnx

import flaxblocks as fb
from tests.helpers.exported import SIZE


def operators(path) -> Counter:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_the_graph_has_one_node_for_each_operation(network, tmp_path):
    path = fb.export(network, tmp_path / "model.onnx", input_size=SIZE, batch=1)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 20
    assert operators(path) == {
        "Transpose": 1,  # at the border; the logits need none
        "Conv": 8,
        "Clip": 1,
        "Relu": 4,
        "HardSwish": 2,
        "ReduceMean": 2,
        "Sigmoid": 1,
        "Mul": 1,
        "Gemm": 1,
        "Identity": 1,
    }
    (depthwise,) = (
        attribute.i
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "group" and attribute.i > 1
    )
    assert depthwise == 32


class Sums(nnx.Module):
    """Has something in a layer that no other runtime has."""

    def __init__(self):
        self.blocks = nnx.List([fb.Conv(3, 4, 1, rngs=nnx.Rngs(0)), Cumulative()])

    @fb.layers.scopes.scoped
    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Cumulative(fb.layers.scopes.Scoped):
    def __call__(self, x):
        return jnp.cumsum(x, 1)


def test_an_operation_without_a_rule_names_its_layer(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be exported: cumsum in .*blocks\.1"):
        fb.export(Sums(), tmp_path / "model.onnx", input_size=8)
    assert not list(tmp_path.iterdir())


class Shapes(nnx.Module):
    """Splits, joins, turns and pads arrays, in layouts that ONNX's convolutions do not have."""

    def __init__(self):
        self.conv = fb.Conv(3, 6, 3, rngs=nnx.Rngs(0))

    def __call__(self, x):
        x = self.conv(x)
        n, h, w, c = x.shape
        shuffled = x.reshape(n, h, w, 2, c // 2).swapaxes(3, 4).reshape(n, h, w, c)
        first, second = jnp.split(shuffled, [2], axis=3)
        mirrored = jnp.pad(second, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        inner = jax.lax.slice_in_dim(jax.lax.slice_in_dim(mirrored, 1, h + 1, axis=1), 0, w, axis=2)
        joined = jnp.concatenate([inner, first * 2], axis=3)
        stacked = jnp.stack([joined, x], axis=4).sum(4)
        gate = jax.nn.sigmoid(stacked.max((1, 2)))[:, None, None]
        moved = jnp.moveaxis(stacked * gate, 3, 1).reshape(n, c, h * w)
        return jnp.tanh(moved).swapaxes(1, 2) ** 3


def test_layouts_are_followed_through_every_reshape(tmp_path):
    model, path = Shapes(), tmp_path / "model.onnx"
    fb.export(model, path, input_size=(6, 5))
    x = np.random.default_rng(0).normal(size=(3, 6, 5, 3)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok
