"""An eps that is off by less than any output shows is found where both sides call the norm."""

from typing import Any

import equinox as eqx
import jax
import keras
import numpy as np
import pytest
import torch
from flax import linen, nnx
from torch import nn

import flaxblocks as fb
from flaxblocks.layers.group_norm import GroupNorm
from parity import compare

pytestmark = pytest.mark.usefixtures("quick")

WIDTH, EPS, NEAR = 6, 1e-5, 1.000002e-5
X = 100 * np.random.default_rng(0).normal(size=(3, 5, 4, WIDTH)).astype(np.float32)
TORCH = {
    "batch": lambda: nn.BatchNorm2d(WIDTH, eps=EPS),
    "layer": lambda: nn.LayerNorm(WIDTH, eps=EPS),
    "group": lambda: nn.GroupNorm(2, WIDTH, eps=EPS),
    "rms": lambda: nn.RMSNorm(WIDTH, eps=EPS),
}
NNX = {
    "batch": [nnx.BatchNorm, fb.BatchNorm],
    "layer": [nnx.LayerNorm, fb.LayerNorm],
    "group": [
        lambda n, **options: nnx.GroupNorm(n, 2, **options),
        lambda n, **options: GroupNorm(n, num_groups=2, **options),
    ],
    "rms": [nnx.RMSNorm],
}
KINDS = [(kind, norm) for kind, norms in NNX.items() for norm in norms]


class TorchNet(nn.Module):
    """A norm over channels last or first, and one that is never called."""

    def __init__(self, kind):
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 1)
        self.norm = TORCH[kind]()
        self.spare = TORCH[kind]()
        self.last = kind in ("layer", "rms")

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if self.last else self.norm(x)


class Port(nnx.Module):
    """The same in NNX."""

    def __init__(self, norm: Any, epsilon=EPS, spare=EPS):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(WIDTH, WIDTH, (1, 1), rngs=rngs)
        more: dict[str, Any] = {"momentum": 0.9} if norm is nnx.BatchNorm else {}
        self.norm = norm(WIDTH, epsilon=epsilon, rngs=rngs, **more)
        self.spare = norm(WIDTH, epsilon=spare, rngs=rngs, **more)

    def __call__(self, x):
        return self.norm(self.conv(x))


class ByHand(Port):
    """Normalizes by itself, whatever eps the layer that holds the scale has."""

    def __call__(self, x):
        x = self.conv(x)
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        norm: Any = self.norm
        return (x - mean) / jax.numpy.sqrt(var + EPS) * norm.scale[...] + norm.bias[...]


class OwnNorm(nnx.LayerNorm):
    """Adds a number of its own."""

    def __call__(self, x):
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        own: Any = self
        return (x - mean) / jax.numpy.sqrt(var + EPS) * own.scale[...] + own.bias[...]


def compared(theirs, ours, names="native"):
    return compare(theirs, ours, X, names=names, checks=("float64",))


def check_found(report, where):
    """Only the row of the eps fails: no output shows it."""
    (row,) = (row for row in report.rows if row.ok is False)
    assert row.quantity == f"eps of {where}"
    assert row.detail == f"{EPS} in PyTorch, {NEAR} in JAX"
    (cause,) = (cause for cause in report.causes if "eps" in cause)
    said = f"at {where} in eval mode: eps: JAX adds 1.000002e-05 to the variance, PyTorch 1e-05"
    assert f"{said}; to mend it: epsilon=1e-05" in cause


@pytest.mark.parametrize(("kind", "norm"), KINDS)
def test_it_is_found_where_the_norm_is_called(kind, norm):
    check_found(compared(TorchNet(kind), Port(norm, NEAR)), "norm")


@pytest.mark.parametrize(("kind", "norm"), KINDS)
@pytest.mark.parametrize("spare", [NEAR, 1e-1])
def test_a_norm_that_is_never_called_is_not_accused(kind, norm, spare):
    report = compared(TorchNet(kind), Port(norm, spare=spare))
    assert report.ok
    assert report.causes == ()


@pytest.mark.parametrize("port", [ByHand(fb.LayerNorm, 1e-1), Port(OwnNorm, 1e-1)])
def test_a_layer_that_computes_otherwise_than_its_library_is_not_accused(port):
    report = compared(TorchNet("layer"), port)
    assert report.ok, report


def test_what_the_numbers_show_is_said_once():
    report = compared(TorchNet("layer"), Port(fb.LayerNorm, 1e-3))
    (cause,) = report.causes
    assert "at norm in eval mode: eps: JAX adds 0.001 to the variance, PyTorch 1e-05" in cause
    assert "also" not in cause


def test_a_norm_alone_is_the_whole_module():
    pair = nn.LayerNorm(WIDTH), nnx.LayerNorm(WIDTH, epsilon=NEAR, rngs=nnx.Rngs(0))
    report = compare(*pair, X[:, 0, 0], checks=("float64",))
    check_found(report, "the whole module")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
@pytest.mark.filterwarnings("ignore:.*it is never used by the ExportedProgram")
@pytest.mark.parametrize(
    "recorded",
    [
        lambda net, _: torch.jit.script(net),
        lambda net, x: torch.export.export(net, (x,)),
    ],
)
def test_a_program_states_it_too(recorded):
    x = torch.tensor(np.moveaxis(X, -1, 1).copy())
    theirs = recorded(TorchNet("layer").eval(), x)
    check_found(compared(theirs, Port(fb.LayerNorm, NEAR)), "norm")


class LinenNet(linen.Module):
    """The same in Linen; its spare norm has variables, and is not called after that."""

    epsilon: float
    spare: float = EPS

    @linen.compact
    def __call__(self, x):
        x = linen.Conv(WIDTH, (1, 1), name="conv")(x)
        if self.is_initializing():
            linen.LayerNorm(self.spare, name="spare")(x)
        return linen.LayerNorm(self.epsilon, name="norm")(x)


class EquinoxNet(eqx.Module):
    """The same in Equinox."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.LayerNorm
    spare: eqx.nn.LayerNorm

    def __init__(self, epsilon, spare=EPS):
        self.conv = eqx.nn.Conv2d(WIDTH, WIDTH, 1, key=jax.random.key(0))
        self.norm = eqx.nn.LayerNorm(WIDTH, eps=epsilon)
        self.spare = eqx.nn.LayerNorm(WIDTH, eps=spare)

    def __call__(self, x):
        pixels = jax.vmap(jax.vmap(self.norm, 1, 1), 1, 1)
        return pixels(self.conv(x))


class KerasNet(keras.Model):
    """The same in Keras."""

    def __init__(self, epsilon, spare=EPS):
        super().__init__()
        self.conv = keras.layers.Conv2D(WIDTH, 1, name="conv")
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, name="norm")
        self.spare = keras.layers.LayerNormalization(epsilon=spare, name="spare")
        self.conv.build(X.shape)
        self.norm.build(X.shape)
        self.spare.build(X.shape)
        self.built = True

    def call(self, x):
        return self.norm(self.conv(x))


LIBRARIES = [LinenNet, EquinoxNet, KerasNet]


@pytest.mark.parametrize("make", LIBRARIES)
def test_it_is_found_in_other_libraries(make):
    report = compared(TorchNet("layer"), make(NEAR), "found")
    check_found(report, report.names["norm.weight"].rpartition(".")[0])


@pytest.mark.parametrize("make", LIBRARIES)
def test_no_other_library_is_accused_of_a_norm_that_it_never_calls(make):
    report = compared(TorchNet("layer"), make(EPS, NEAR), "found")
    assert report.ok, report
