"""Functions of a user's own, with kernels laid out in any way, line up without a line by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

from flaxblocks import state_dict
from parity import compare, find_names
from parity.conversion import converted, recipe_of
from parity.sides import flax_side, given
from parity.sides.pairing import pair_up
from parity.sides.ports.port import Port

pytestmark = pytest.mark.usefixtures("quick")

RANDOM = np.random.default_rng(0)
ROWS, IMAGES = (RANDOM.normal(size=s).astype(np.float32) for s in ((5, 4), (2, 5, 6, 3)))
TOKENS = RANDOM.integers(0, 7, size=(3, 5))
CHECKS = ("names", "float64", "gradients")


def dense(p, x):
    return x @ p["w"] + p["b"]


def zeros(*sizes):
    return {"w": jnp.zeros(sizes), "b": jnp.zeros(sizes[-1])}


def perceptron(p, x, act=jnp.tanh):
    return dense(p["out"], act(dense(p["hidden"], jnp.tanh(dense(p["first"], x)))))


SQUARES = {name: zeros(4, 4) for name in ("first", "hidden", "out")}


def torch_perceptron():
    linear = [nn.Linear(4, 4) for _ in range(3)]
    return nn.Sequential(linear[0], nn.Tanh(), linear[1], nn.Tanh(), linear[2])


def language(p, tokens):
    return jnp.tanh(dense(p["hidden"], p["embed"][tokens])) @ p["out"]


class TorchLanguage(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.embed, self.hidden = nn.Embedding(7, 6), nn.Linear(6, size)
        self.out = nn.Linear(size, 3, bias=False)

    def forward(self, tokens):
        return self.out(torch.tanh(self.hidden(self.embed(tokens))))


class FlaxLanguage(nnx.Module):
    """The same, with arrays of its own in place of layers."""

    def __init__(self, size):
        self.table, self.w = nnx.Param(jnp.zeros((7, 6))), nnx.Param(jnp.zeros((6, size)))
        self.b, self.u = nnx.Param(jnp.zeros(size)), nnx.Param(jnp.zeros((size, 3)))

    def __call__(self, tokens):
        hidden = {"w": self.w[...], "b": self.b[...]}
        return language({"embed": self.table[...], "hidden": hidden, "out": self.u[...]}, tokens)


def network(p, x):
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, p["k"], (1, 1), "SAME", dimension_numbers=dimensions)
    return dense(p, jax.nn.relu(x + p["c"]).reshape(len(x), -1))


def torch_network(channels):
    conv, linear = nn.Conv2d(3, channels, 3, padding=1), nn.Linear(30 * channels, 7)
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), linear)


def parameters(channels):
    return {
        "k": jnp.zeros((3, 3, 3, channels)),
        "c": jnp.zeros(channels),
        **zeros(30 * channels, 7),
    }


@pytest.mark.parametrize(
    ("theirs", "ours", "x"),
    [
        (torch_perceptron(), (perceptron, SQUARES), ROWS),
        *(
            (
                TorchLanguage(n),
                (
                    language,
                    {"embed": jnp.zeros((7, 6)), "hidden": zeros(6, n), "out": jnp.zeros((n, 3))},
                ),
                TOKENS,
            )
            for n in (5, 6)
        ),
        (TorchLanguage(6), FlaxLanguage(6), TOKENS),
        *((torch_network(n), (network, parameters(n)), IMAGES) for n in (3, 4)),
    ],
)
def test_kernels_of_any_layout_are_found(theirs, ours, x):
    report = compare(theirs, ours, x, names="found", checks=CHECKS)
    assert report.ok, str(report)


def test_a_fault_is_no_layout():
    def with_relu(p, x):
        return perceptron(p, x, jax.nn.relu)

    report = compare(
        torch_perceptron(), (with_relu, SQUARES), ROWS, names="found", checks=["float64"]
    )
    assert len(report.causes) == 1
    assert "at 3 in eval mode: activation: JAX applies relu, PyTorch tanh" in report.causes[0]


def test_a_layer_of_flax_is_not_turned():
    class Swapped(nnx.Linear):
        def __call__(self, x):
            return x @ self.kernel[...].T

    rngs = nnx.Rngs(0)
    theirs = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 3))
    swapped = Swapped(4, 4, use_bias=False, rngs=rngs)
    ours = nnx.Sequential(swapped, jnp.tanh, nnx.Linear(4, 3, rngs=rngs))
    (cause,) = compare(theirs, ours, ROWS, names="found", checks=["float64"]).causes
    assert "input and output channels are swapped" in cause


def test_a_checkpoint_becomes_the_function_s_own():
    theirs = torch_network(4)
    port = given.jax_side((network, parameters(4)), IMAGES)
    pair = pair_up(theirs, port, find_names(theirs, port, IMAGES))
    tensors = {name: value.numpy() for name, value in theirs.state_dict().items()}
    ours = converted(recipe_of(pair), tensors)
    loaded = state_dict(flax_side.with_weights(port, pair.weights(tensors), "float32"))
    assert isinstance(port, Port)
    assert ours.keys() == {"k", "c", "w", "b"}
    for name, own in port.own_names.items():
        np.testing.assert_array_equal(ours[own], loaded[name])
