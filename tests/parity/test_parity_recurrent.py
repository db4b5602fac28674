"""LSTM and GRU layers: their gates and biases are found, whatever the library makes of them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import linen, nnx
from torch import nn

from flaxblocks.weights.entries import entries
from parity import compare, find_names
from parity.conversion import converted, recipe_of
from parity.sides import given
from parity.sides.pairing import pair_up

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
CHECKS = ("names", "float64", "gradients", "trajectory")
KEY = jax.random.key(0)


class TorchNet(nn.Module):
    """A recurrent layer and a classifier of each of its steps."""

    def __init__(self, kind: Any):
        super().__init__()
        self.rnn, self.fc = kind(5, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(self.rnn(x)[0])


class FlaxNet(nnx.Module):
    """The same in NNX."""

    def __init__(self, cell: Any):
        rngs = nnx.Rngs(0)
        self.steps: Any = nnx.RNN(cell(5, 6, rngs=rngs), rngs=rngs)
        self.out = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.steps(x))


class LinenNet(linen.Module):
    """The same in Linen."""

    cell: Any

    @linen.compact
    def __call__(self, x):
        return linen.Dense(3)(linen.RNN(self.cell(6))(x))


class EquinoxNet(eqx.Module):
    """The same in Equinox."""

    cell: Any
    fc: eqx.nn.Linear

    def __init__(self, cell: Any):
        self.cell, self.fc = cell(5, 6, key=KEY), eqx.nn.Linear(6, 3, key=KEY)

    def __call__(self, x):
        start = jnp.zeros(6)
        pairs = isinstance(self.cell, eqx.nn.LSTMCell)

        def step(state, x):
            state = self.cell(x, state)
            return state, self.fc(state[0] if pairs else state)

        return jax.lax.scan(step, (start, start) if pairs else start, x)[1]


def keras_net(kind: Any) -> keras.Model:
    x = keras.Input((4, 5))
    return keras.Model(x, keras.layers.Dense(3)(kind(6, return_sequences=True)(x)))


LSTM, GRU = nn.LSTM, nn.GRU
CASES = [
    (LSTM, FlaxNet, nnx.OptimizedLSTMCell),
    (GRU, LinenNet, linen.GRUCell),
    (LSTM, FlaxNet, nnx.LSTMCell),
    (LSTM, LinenNet, linen.OptimizedLSTMCell),
    (LSTM, EquinoxNet, eqx.nn.LSTMCell),
    (GRU, EquinoxNet, eqx.nn.GRUCell),
    (LSTM, keras_net, keras.layers.LSTM),
    (GRU, keras_net, keras.layers.GRU),
]
DEFAULT = 2  # of them; each compiles a loop


@pytest.mark.parametrize(
    ("theirs", "net", "cell"),
    [pytest.param(*c, marks=() if i < DEFAULT else pytest.mark.slow) for i, c in enumerate(CASES)],
)
def test_a_recurrent_layer_is_equal_under_found_names(theirs, net, cell):
    report = compare(TorchNet(theirs), net(cell), X, names="found", checks=CHECKS)
    assert report.ok, str(report)
    row = report.of("trajectory")[0]
    assert (row.ok is None) == ("a sum of PyTorch's, which trains otherwise" in row.detail)


def test_a_bias_that_the_port_has_not_is_said():
    ours = FlaxNet(nnx.GRUCell)
    report = compare(TorchNet(GRU), ours, X, names="found", checks=CHECKS)
    failed = {row.quantity for row in report.rows if row.ok is False}
    assert failed == {"parameters", "rnn.bias_hh_l0[12:18]"}  # inside the product with the gate


@pytest.mark.parametrize(
    ("theirs", "net", "cell"), [(LSTM, FlaxNet, nnx.LSTMCell), (GRU, LinenNet, linen.GRUCell)]
)
def test_biases_are_added_when_a_checkpoint_is_converted(theirs, net, cell):
    module, port = TorchNet(theirs), given.jax_side(net(cell), X)
    pair = pair_up(module, port, find_names(module, port, X))
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    loaded = pair.weights(state)
    found = converted(recipe_of(pair), state)
    assert len(found) == len(loaded) == len(entries(port))
    totals = sorted(float(np.sum(value, dtype=np.float64)) for value in found.values())
    assert totals == pytest.approx(sorted(float(np.sum(v)) for v in loaded.values()), abs=1e-6)
