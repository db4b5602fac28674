"""What ONNX graphs look like: nothing but what ONNX Runtime has a fast kernel for."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.exporting.program import program_of
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.bilinear_attention import BilinearAttention
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.layers.response_norm import GlobalResponseNorm
from flaxblocks.ops.resize import bilinear_resize, nearest_resize
from tests.helpers.exported import SIZE, operators, randomized


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


class Plain(nnx.Module):
    """A user's own, whose modules are no scopes."""

    def __init__(self):
        self.conv = nnx.Conv(3, 4, (1, 1), rngs=nnx.Rngs(0))

    def __call__(self, x):
        jnp.cumsum(x + 1, 1)
        return self.conv(jnp.cumsum(x, 1))  # traced before, a line above


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_an_operation_of_plain_modules_names_its_line(tmp_path, format):
    line = Plain.__call__.__code__.co_firstlineno + 2
    with pytest.raises(ValueError, match=rf"cannot be exported: cumsum in test_onnx\.py:{line}"):
        fb.export(Plain(), tmp_path / "model", format=format, input_size=8)


def test_an_operation_of_no_module_has_no_place():
    images = jax.ShapeDtypeStruct((1, 4, 4, 3), jnp.float32)
    program = program_of(partial(bilinear_resize, size=(8, 8)), images)
    assert {step.layer for step in program.operations} == {""}


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


class PooledNorm(nnx.Module):
    """Normalizes what is left of the images when pixels are gone."""

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        self.norm = BatchNorm(features, rngs=rngs)

    def __call__(self, x):
        return jnp.tanh(self.norm(x.mean((1, 2))))


LAYERS = {
    "PooledNorm": PooledNorm,
    "EfficientChannelAttention": EfficientChannelAttention,
    "GlobalResponseNorm": GlobalResponseNorm,
    "GroupNorm": partial(GroupNorm, num_groups=2),
    "BilinearAttention": partial(BilinearAttention, reduce_features=4, size=2, drop_rate=0),
}


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_leave_the_number_of_images_open(layer: str, suffix: str, tmp_path):
    model, path = randomized(LAYERS[layer](8, rngs=nnx.Rngs(0))), tmp_path / f"model.{suffix}"
    model.eval()
    fb.export(model, path, input_size=(2, 4), in_features=8)
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 8)).astype(np.float32)
    x[0, :, :, 0] = 0
    assert fb.verify_exported(model, path, x).ok


INDICES = {
    "first channels": lambda x: x[..., :4],
    "last channels": lambda x: x[..., 2:],
    "one row": lambda x: x[:, 1],
    "the last column": lambda x: x[:, :, -1],
    "a box": lambda x: x[:, 1:3, 2:],
    "every other pixel": lambda x: x[:, 1::2, ::3],
    "back to front": lambda x: x[..., ::-1],
    "in no order": lambda x: x[..., jnp.asarray([0, 1, 3])],
    "twice": lambda x: x[..., jnp.asarray([2, 2])],
}
"""What JAX gathers where the number of images is open."""


class Indexed(nnx.Module):
    def __init__(self, index: Callable[[jax.Array], jax.Array]):
        self.conv, self.index = fb.Conv(3, 6, 3, rngs=nnx.Rngs(0)), index

    def __call__(self, x):
        return jnp.tanh(self.index(self.conv(x)))


@pytest.mark.parametrize("suffix", ["onnx", pytest.param("pt2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("index", INDICES)
def test_indices_leave_the_number_of_images_open(index: str, suffix: str, tmp_path):
    model, path = Indexed(INDICES[index]), tmp_path / f"model.{suffix}"
    fb.export(model, path, input_size=(6, 5))
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok


def test_products_take_arrays_as_they_are_stored(tmp_path):
    bilinear = LAYERS["BilinearAttention"](8, rngs=nnx.Rngs(0))
    bilinear.eval()
    path = fb.export(bilinear, tmp_path / "a.onnx", input_size=(4, 4), in_features=8)
    assert operators(path)["Einsum"] == 2
    assert operators(path)["Transpose"] == 2  # at the borders


class Routed(nnx.Module):
    """Convolves each image with its own mixture of kernels, and resizes what comes out."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.depthwise = fb.CondConv(4, 4, 3, experts=3, groups=4, stride=2, rngs=rngs)
        self.project = fb.CondConv(4, 6, 1, experts=3, rngs=rngs)

    @fb.layers.scopes.scoped
    def __call__(self, x):
        routing = jax.nn.sigmoid(jax.lax.slice_in_dim(x.mean((1, 2)), 0, 3, axis=1))
        x = self.project(self.depthwise(x, routing), routing)
        return bilinear_resize(x, (7, 3)) + nearest_resize(x, (7, 3))


@pytest.mark.parametrize("suffix", ["onnx", pytest.param("pt2", marks=pytest.mark.slow)])
def test_kernels_of_each_image_and_resizing(suffix: str, tmp_path):
    model, path = Routed(), tmp_path / f"model.{suffix}"
    fb.export(model, path, input_size=(6, 5), batch=2, in_features=4)
    x = np.random.default_rng(0).normal(size=(4, 6, 5, 4)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok
    if suffix == "onnx":  # a mixture is a product of matrices, and nothing is turned but images
        nodes = operators(path)
        assert (nodes["Conv"], nodes["MatMul"], nodes["Transpose"]) == (2, 2, 2), nodes
    with pytest.raises(ValueError, match=r"`batch` must be a number.*: depthwise has a kernel for"):
        fb.export(model, tmp_path / f"other.{suffix}", input_size=(6, 5), in_features=4)


class RoutedPixels(nnx.Module):
    """Multiplies each image's pixels by its own mixture of matrices."""

    def __init__(self):
        self.layer = fb.CondConv(4, 6, 1, experts=4, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.layer(x, jax.nn.sigmoid(x.mean((1, 2))))


@pytest.mark.parametrize(("batch", "reshapes"), [(1, 1), (2, 3), ("dynamic", 3)])
def test_matrices_of_each_image(batch, reshapes: int, tmp_path):
    model, path = RoutedPixels(), tmp_path / "model.onnx"
    fb.export(model, path, input_size=(6, 5), batch=batch, in_features=4)
    x = np.random.default_rng(0).normal(size=(4, 6, 5, 4)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok
    nodes = operators(path)
    assert nodes["Conv"] == (batch != "dynamic")
    assert nodes["Reshape"] == reshapes  # one where there were several in a row
    graph = onnx.load(path).graph
    given = {name for node in graph.node for name in node.input}
    assert {weight.name for weight in graph.initializer} <= given


def test_layouts_are_followed_through_every_reshape(tmp_path):
    model, path = Shapes(), tmp_path / "model.onnx"
    fb.export(model, path, input_size=(6, 5))
    x = np.random.default_rng(0).normal(size=(3, 6, 5, 3)).astype(np.float32)
    assert fb.verify_exported(model, path, x).ok
