"""The gate of squeeze and excitation, and stochastic depth."""

from functools import partial
from math import sqrt

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from tests.helpers.tolerance import bound
from tests.helpers.twins import assert_same, image
from tests.helpers.typed import instance, present

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize(
    "arguments,squeezed", [({}, 4), ({"ratio": 0.5}, 8), ({"squeeze_features": 3}, 3)]
)
def test_squeezes_to_the_width_asked_for(arguments: dict, squeezed: int):
    se = fb.SqueezeExcite(16, **arguments, rngs=nnx.Rngs(0))
    assert se.reduce.kernel.shape == (1, 1, 16, squeezed)
    assert se.expand.kernel.shape == (1, 1, squeezed, 16)


def test_rounds_the_ratio_and_keeps_one_channel():
    assert fb.SqueezeExcite(7, ratio=0.25, rngs=nnx.Rngs(0)).reduce.out_features == 2
    assert fb.SqueezeExcite(4, ratio=0.2, rngs=nnx.Rngs(0)).reduce.out_features == 1


def test_the_gate_is_a_function_of_the_means_alone(x64):
    """Written out by hand, for activations unlike the defaults."""
    se = fb.SqueezeExcite(
        6, ratio=0.5, act=jnp.sin, gate=jnp.tanh, param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    )
    x = image((2, 5, 3, 6))
    w = fb.state_dict(se)
    hidden = np.sin(x.mean((1, 2)) @ w["reduce.weight"][:, :, 0, 0].T + w["reduce.bias"])
    gate = np.tanh(hidden @ w["expand.weight"][:, :, 0, 0].T + w["expand.bias"])
    assert_same(se(jnp.asarray(x)), x * gate[:, None, None, :])


def test_accepts_any_factory_as_a_gate():
    block = fb.MBConv(8, 8, se=partial(fb.SqueezeExcite, squeeze_features=2), rngs=nnx.Rngs(0))
    assert instance(block.se, fb.SqueezeExcite).reduce.kernel.shape == (1, 1, 32, 2)


def test_drops_whole_samples_and_rescales_the_survivors():
    drop = fb.StochasticDepth(0.25, rngs=nnx.Rngs(0))
    x = jnp.asarray(image((64, 3, 2, 5)), jnp.float32)

    y = np.asarray(drop(x))

    dropped = np.abs(y).max((1, 2, 3)) == 0
    assert 0 < dropped.sum() < 64
    limit = bound("float32", "output")
    np.testing.assert_allclose(y[~dropped], np.asarray(x)[~dropped] / 0.75, rtol=limit)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_drops_at_the_rate_and_keeps_the_mean(rate: float):
    samples, errors = 20_000, bound("any", "statistic of a sample")
    drop = fb.StochasticDepth(rate, rngs=nnx.Rngs(1))
    y = np.asarray(drop(jnp.ones((samples, 1, 1, 1))))
    deviation = sqrt(rate * (1 - rate) / samples)
    assert abs((y == 0).mean() - rate) <= errors * deviation
    assert abs(y.mean() - 1) <= errors * deviation / (1 - rate)


def test_draws_anew_at_each_call_also_under_jit():
    drop = fb.StochasticDepth(0.5, rngs=nnx.Rngs(0))
    call = nnx.jit(lambda drop, x: drop(x))
    x = jnp.ones((64, 1, 1, 1))
    first, second = call(drop, x), call(drop, x)
    assert not np.array_equal(first, second)


def test_is_the_identity_in_eval_mode_and_at_rate_0():
    x = jnp.asarray(image((8, 2, 2, 3)), jnp.float32)
    drop = fb.StochasticDepth(0.9, rngs=nnx.Rngs(0))
    drop.eval()
    np.testing.assert_array_equal(drop(x), x)
    np.testing.assert_array_equal(fb.StochasticDepth(0.0, rngs=nnx.Rngs(0))(x), x)


def test_rate_1_drops_everything_without_dividing_by_zero():
    drop = fb.StochasticDepth(1.0, rngs=nnx.Rngs(0))

    def total(x):
        return drop(x).sum()

    value, gradient = jax.value_and_grad(total)(jnp.ones((4, 2, 2, 3)))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((4, 2, 2, 3)))


def test_draws_from_the_dropout_stream():
    rngs = nnx.Rngs(params=0, dropout=1)
    drop = fb.StochasticDepth(0.5, rngs=rngs)
    drop(jnp.ones((4, 1, 1, 1)))
    assert int(present(drop.rngs).count[...]) == 1
