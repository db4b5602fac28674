"""The float32 check holds for any order of summing, and still sees a real loss of precision.

`.ci/run` repeats these under the instruction sets of smaller processors.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import flaxblocks as fb
from parity import compare
from tests.helpers.twins import BY_NAME

GATE, UNIT = BY_NAME["SqueezeExcite/default"], BY_NAME["ConvNormAct/5x3-stride2"]
EVERYWHERE = {"the whole module", "all layers"}


def failing(case, block: nnx.Module, offset: float = 0.0) -> set[str]:
    """Return which rows of the float32 check fail, without the input's number."""
    x = (offset + np.random.default_rng(0).normal(size=case.shape)).astype(np.float32)
    report = compare(case.build_torch(), block, x, checks=("float32",))
    return {row.quantity.partition(" (")[0] for row in report.rows if row.ok is False}


def make_gate() -> fb.SqueezeExcite:
    gate = GATE.build_flax()
    assert isinstance(gate, fb.SqueezeExcite)
    return gate


def make_unit() -> fb.ConvNormAct:
    unit = UNIT.build_flax()
    assert isinstance(unit, fb.ConvNormAct)
    return unit


def in_another_order(x, kernel, *args, **kwargs):
    """Convolve with the channels' products summed in two halves, the last ones first."""
    half = x.shape[-1] // 2
    convolve = partial(jax.lax.conv_general_dilated, precision="highest")
    kwargs.pop("precision")
    parts = (slice(half, None), slice(None, half))
    first, second = (convolve(x[..., p], kernel[:, :, p], *args, **kwargs) for p in parts)
    return first + second


def in_bfloat16(x, kernel, *args, **kwargs):
    low = (value.astype(jnp.bfloat16).astype(value.dtype) for value in (x, kernel))
    return jax.lax.conv_general_dilated(*low, *args, **kwargs)


def approximate_silu(x):
    """SiLU whose exponential is right to four digits: a series between powers of two."""
    power = x / np.log(2)
    whole = jnp.floor(power)
    part, series = (power - whole) * np.log(2), 1.0
    for term in range(5, 0, -1):
        series = 1 + part / term * series
    return x / (1 + 1 / (series * jnp.exp2(whole)))


def one_pass_batch_normalize(x, scale, bias, epsilon, axis_name, wide, finish):
    """Normalize by the difference of two means that are far larger than it."""
    mean = x.mean((0, 1, 2), keepdims=True)
    var = jnp.square(x).mean((0, 1, 2), keepdims=True) - jnp.square(mean)
    return finish((x - mean) * (scale / jnp.sqrt(var + epsilon)) + bias), mean, var


def test_another_order_of_summing_passes():
    gate = make_gate()
    gate.reduce.conv_general_dilated = gate.expand.conv_general_dilated = in_another_order
    assert not failing(GATE, gate)


def test_products_in_bfloat16_are_seen():
    unit = make_unit()
    unit.conv.conv_general_dilated = in_bfloat16
    assert EVERYWHERE <= failing(UNIT, unit)


def test_products_in_bfloat16_are_seen_in_a_gates_few_values():
    gate = make_gate()
    gate.reduce.conv_general_dilated = in_bfloat16
    assert EVERYWHERE <= failing(GATE, gate)


def test_an_approximate_exponential_is_seen():
    unit = make_unit()
    unit.act = approximate_silu
    assert EVERYWHERE <= failing(UNIT, unit)


def test_means_of_large_squares_are_seen(monkeypatch):
    case, offset = BY_NAME["Conv1X1BnReLU"], 100.0  # without padding, which would vary more
    assert not failing(case, case.build_flax(), offset)
    jax.clear_caches()
    monkeypatch.setattr("flaxblocks.layers.batch_norm.batch_normalize", one_pass_batch_normalize)
    assert "all statistics" in failing(case, case.build_flax(), offset)
    jax.clear_caches()
