"""Several mistakes at once, also where each hides the next, are all named."""

from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from torch import nn

from parity import compare

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)


def starts(causes, texts):
    """Assert that each cause begins with its text: a layer, and what differs there."""
    found = [cause.partition(" at ")[2].replace(" in eval mode", "") for cause in causes]
    found = [text.replace(" in train mode", " trained") for text in found]
    assert len(found) == len(texts), causes
    assert all(map(str.startswith, found, texts)), causes


class Vgg(nn.Sequential):
    """A network that flattens its last map, as VGG does."""

    def __init__(self, grid):
        act = nn.ReLU
        super().__init__(
            OrderedDict(
                conv=nn.Conv2d(3, 8, 3, padding=1),
                act=act(),
                pool=nn.MaxPool2d(4),
                grid=nn.AdaptiveAvgPool2d(grid),
                flat=nn.Flatten(),
                first=nn.Linear(8 * grid * grid, 16),
                first_act=act(),
                first_drop=nn.Dropout(),
                second=nn.Linear(16, 12),
                second_act=act(),
                second_drop=nn.Dropout(),
                last=nn.Linear(12, 5),
            )
        )


class VggPort(nnx.Module):
    """The same by convolutions, with a mean over what positions are left."""

    def __init__(self, grid, padding, acts):
        rngs = nnx.Rngs(0)
        self.acts = acts
        self.conv = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.first = nnx.Conv(8, 16, (grid, grid), padding=padding, rngs=rngs)
        self.second = nnx.Conv(16, 12, (1, 1), rngs=rngs)
        self.last = nnx.Linear(12, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.conv(x)), (4, 4), (4, 4))
        for layer, acts in ((self.first, self.acts[0]), (self.second, self.acts[1])):
            x = nnx.relu(layer(x)) if acts else layer(x)
        return self.last(x.mean((1, 2)))


SAME = "first: padding: JAX applies the weights as a convolution that pads as TensorFlow's SAME"
MEAN = "last: pooling: JAX averages over positions, of which PyTorch has one"
GRID = "grid: missing pooling: JAX applies none, PyTorch adaptive_avg_pool2d to 7"
RELU = "missing activation: JAX applies none, PyTorch relu"


@pytest.mark.parametrize(
    ("grid", "padding", "acts", "texts"),
    [
        (4, "VALID", (True, True), []),
        (4, "SAME", (True, True), [SAME, MEAN]),
        (4, "SAME", (False, True), [SAME, f"first_act: {RELU}", MEAN]),
        (7, "SAME", (True, False), [GRID, SAME, f"second_act: {RELU}", MEAN]),
        (7, "SAME", (False, False), [GRID, SAME, f"first_act: {RELU}", MEAN]),
    ],
    ids=["none", "two", "three", "four", "five"],
)
def test_mistakes_that_hide_each_other_are_all_named(grid, padding, acts, texts):
    port = VggPort(grid, padding, acts)
    report = compare(Vgg(grid), port, X, names="found", checks=("names", "float64"))
    assert report.ok == (not texts)
    starts(report.causes, texts)
    if acts == (False, False):
        assert "also at second_act" in report.causes[2]


def row_net():
    """Activations of which a port may leave out any, and what follows."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv=nn.Conv2d(3, 8, 3, padding=1),
            act=nn.SiLU(),
            tanh=nn.Tanh(),
            gate=nn.Sigmoid(),
            head=nn.Conv2d(8, 5, 3, padding=1, stride=2),
            last=nn.ReLU(),
        )
    )


class RowPort(nnx.Module):
    """The same without what is named, and padded as TensorFlow does."""

    def __init__(self, *without):
        rngs, one = nnx.Rngs(0), [(1, 1), (1, 1)]
        self.without = frozenset(without)
        self.conv = nnx.Conv(3, 8, (3, 3), padding=one, rngs=rngs)
        padding = "SAME" if "padding" in without else one
        self.head = nnx.Conv(8, 5, (3, 3), strides=2, padding=padding, rngs=rngs)

    def __call__(self, x):
        x = self.conv(x)
        acts = {"act": nnx.silu, "tanh": jnp.tanh, "gate": nnx.sigmoid}
        for name, act in acts.items():
            x = x if name in self.without else act(x)
        return nnx.relu(self.head(x))


ROW = {
    "act": "act: missing activation: JAX applies none, PyTorch silu",
    "tanh": "tanh: missing activation: JAX applies none, PyTorch tanh",
    "gate": "gate: missing activation: JAX applies none, PyTorch sigmoid",
    "padding": "head: padding: JAX pads as TensorFlow's SAME, unevenly; PyTorch by 1",
}


@pytest.mark.parametrize(
    "without",
    [
        ("tanh", "gate"),
        ("gate", "padding"),
        ("act", "tanh", "gate"),
        ("tanh", "gate", "padding"),
        ("act", "tanh", "gate", "padding"),
    ],
)
def test_what_is_missing_in_a_row_is_named_one_after_the_other(without):
    report = compare(row_net(), RowPort(*without), X, checks=("names", "float64"))
    starts(report.causes, [ROW[name] for name in without])


class Deep(nnx.Module):
    """A user's network with mistakes that are far apart."""

    def __init__(self, dtype=None, order=None, frozen=None, **norm):
        rngs, one = nnx.Rngs(0), [(1, 1), (1, 1)]
        self.order, self.frozen = order, frozen
        self.conv = nnx.Conv(3, 8, (3, 3), padding=one, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs, **{"momentum": 0.9, "epsilon": 1e-5, **norm})
        self.middle = nnx.Conv(8, 8, (3, 3), padding=one, dtype=dtype, rngs=rngs)
        self.last = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x):
        x = jax.nn.gelu(self.norm(self.conv(x), use_running_average=self.frozen))
        x = self.last(self.middle(x).mean((1, 2)))
        return x if self.order is None else x[:, jnp.array(self.order)]


def deep(act):
    layers = OrderedDict[str, nn.Module](
        conv=nn.Conv2d(3, 8, 3, padding=1),
        norm=nn.BatchNorm2d(8),
        act=act,
        middle=nn.Conv2d(8, 8, 3, padding=1),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        last=nn.Linear(8, 5),
    )
    return nn.Sequential(layers)


GELU = "act: activation: JAX applies gelu by tanh, PyTorch gelu by erf"
BIASED = "norm trained: variance bias: JAX stores the biased variance"
MOMENTUM = "norm trained: momentum: JAX moves its statistics by 0.01"
LABELS = "last: label order: JAX's output 0 holds PyTorch's 1"
FROZEN = "norm trained: statistics: JAX normalizes by the running ones"
ORDER = (1, 0, 2, 3, 4)
EPS = "norm: eps: JAX adds 0.001 to the variance, PyTorch 1e-05"


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({"momentum": 0.99, "epsilon": 1e-3}, [EPS, GELU, MOMENTUM, BIASED]),
        (
            {"dtype": jnp.bfloat16},
            ["middle: reduced matmul precision: JAX rounds to bfloat16", GELU, BIASED],
        ),
        ({"order": ORDER}, [GELU, LABELS, BIASED]),
        ({"order": ORDER, "frozen": True}, [GELU, LABELS, FROZEN]),
    ],
    ids=["norm", "precision", "label order", "frozen"],
)
def test_mistakes_that_are_far_apart_are_all_named(options, texts):
    report = compare(deep(nn.GELU()), Deep(**options), X, checks=("names", "float64"))
    starts(report.causes, texts)


def test_statistics_are_told_of_before_what_is_unknown():
    unknown = nn.Hardshrink(0.3)  # PyTorch's alone: no change of it gives a gelu
    report = compare(deep(unknown), Deep(momentum=0.99), X, checks=("names", "float64"))
    first, *more = report.causes
    assert "cause unknown" in first
    starts(more, [MOMENTUM, BIASED])
