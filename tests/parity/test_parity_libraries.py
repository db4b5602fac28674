"""Networks of Linen, Equinox and Keras are compared as they are; their one difference is found."""

import equinox as eqx
import jax
import keras
import numpy as np
import pytest
import torch.nn.functional as F
from flax import linen
from torch import nn

from parity import compare
from parity.sides import given

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(3, 7, 6, 3)).astype(np.float32)
CHECKS = ("names", "float64", "gradients", "statistics")
LINEN = {"conv": "Conv_0", "norm": "BatchNorm_0", "up": "ConvTranspose_0", "fc": "Dense_0"}


class TorchNet(nn.Module):
    """A convolution and its transpose, a norm with statistics, dropout, a classifier."""

    def __init__(self, rate=0.5):
        super().__init__()
        self.rate = rate
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, 5, 2, stride=2)
        self.fc = nn.Linear(5, 6)

    def forward(self, x):
        x = self.up(F.gelu(self.norm(self.conv(x)))).mean((2, 3))
        return self.fc(F.dropout(x, self.rate, self.training))


class LinenNet(linen.Module):
    """The same in Linen."""

    @linen.compact
    def __call__(self, x, train: bool):
        x = linen.Conv(4, (3, 3), padding=1)(x)
        x = linen.BatchNorm(not train, momentum=0.9)(x)
        x = linen.gelu(x, approximate=False)
        x = linen.ConvTranspose(5, (2, 2), strides=(2, 2), padding="VALID")(x)
        x = linen.Dropout(0.5, deterministic=not train)(x.mean((1, 2)))
        return linen.Dense(6)(x)


class EquinoxNet(eqx.Module):
    """The same in Equinox, which takes one example, channels first."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    up: eqx.nn.ConvTranspose2d
    fc: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, key):
        self.conv = eqx.nn.Conv2d(3, 4, 3, padding=1, key=key)
        self.norm = eqx.nn.BatchNorm(4, "batch", momentum=0.9, mode="batch")
        self.up = eqx.nn.ConvTranspose2d(4, 5, 2, stride=2, key=key)
        self.fc = eqx.nn.Linear(5, 6, key=key)
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x, state, *, key):
        x, state = self.norm(self.conv(x), state)
        x = self.up(jax.nn.gelu(x, approximate=False)).mean((1, 2))
        return self.fc(self.dropout(x, key=key)), state


def make_linen():
    module = LinenNet()
    return module, module.init(jax.random.key(0), X, train=False)


def make_equinox():
    return eqx.nn.make_with_state(EquinoxNet)(jax.random.key(0))


def make_keras():
    image = keras.Input((7, 6, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(image)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="norm")(x)
    x = keras.layers.Conv2DTranspose(5, 2, strides=2, name="up")(keras.activations.gelu(x))
    x = keras.layers.Dropout(0.5)(keras.ops.mean(x, (1, 2)))
    return keras.Model(image, keras.layers.Dense(6, name="fc")(x))


@pytest.mark.parametrize(
    ("make", "names"), [(make_linen, LINEN), (make_equinox, "native"), (make_keras, "native")]
)
def test_a_port_differs_only_in_the_variance_that_its_library_stores(make, names):
    report = compare(TorchNet(), make(), X, names=names, checks=CHECKS)
    norm = "norm" if names == "native" else names["norm"]
    failed = {(row.check, row.quantity) for row in report.rows if row.ok is False}
    assert failed == {("statistics", f"{norm}.running_var (input 0)")}, str(report)
    (cause,) = report.causes
    assert f"first divergence at {norm} in train mode: variance bias: JAX stores the" in cause


@pytest.mark.parametrize(
    ("make", "names"), [(make_linen, LINEN), (make_equinox, "native"), (make_keras, "native")]
)
def test_a_rate_of_dropout_is_compared_in_each_library(make, names):
    causes = compare(TorchNet(rate=0.2), make(), X, names=names, checks=["names"]).causes
    said = "in train mode: dropout rate: JAX drops 0.5, PyTorch 0.2; to mend it: rate=0.2"
    assert [said in cause for cause in causes].count(True) == 1


class WritableNorm(linen.Module):
    """A norm that trains where its statistics may be written, and is told nothing else."""

    @linen.compact
    def __call__(self, x):
        resting = not self.is_mutable_collection("batch_stats")
        return linen.BatchNorm(resting, momentum=0.9, name="0")(x)


def test_a_linen_module_may_only_write_its_statistics_in_training():
    report = compare(nn.Sequential(nn.BatchNorm2d(3)), WritableNorm(), X, checks=["float64"])
    assert report.ok, str(report)


def test_a_fault_in_another_library_is_found_and_named():
    image = keras.Input((7, 6, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="0")(image)
    x = keras.layers.BatchNormalization(name="1")(x)
    theirs = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4))
    causes = compare(theirs, keras.Model(image, x), X, checks=["float64"]).causes
    assert "first divergence at 0 in eval mode: padding: JAX pads as TensorFlow's SAME" in causes[0]
    assert "then at 1 in eval mode: eps: JAX adds 0.001 to the variance, PyTorch 1e-05" in causes[1]


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match="`jax_module` must be a module of Flax NNX, Flax Linen"):
        given.jax_side(3, X)
    with pytest.raises(ValueError, match="`jax_module` must be a Keras model that is built"):
        given.jax_side(keras.Sequential([keras.layers.Dense(3)]), X)
