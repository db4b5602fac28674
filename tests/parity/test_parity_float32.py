"""The float32 check holds for any order of summing, and still sees a real loss of precision.

`.ci/run` repeats these under the instruction sets of smaller processors.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn

import flaxblocks as fb
import torch_ref
from flaxblocks._base.module_spec import Function, Spec
from parity import compare
from parity.checks import measure
from parity.checks.float32 import _usual_errors
from parity.sides.kinks import Kinks
from parity.sides.pairing import pair_up
from parity.sides.runs import Runs
from tests.helpers.twins import BY_NAME

GATE, UNIT = BY_NAME["SqueezeExcite/default"], BY_NAME["ConvNormAct/5x3-stride2"]
EVERYWHERE = {"the whole module", "all layers"}
ULPS = 2.0**-20  # two or more of any number up to 6


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


def test_the_error_that_is_expected_is_the_one_that_is_made():
    """It is about twice PyTorch's, on every width of vectors: libraries sum in blocks."""
    x = np.random.default_rng(0).normal(size=UNIT.shape).astype(np.float32)
    runs = Runs(pair_up(UNIT.build_torch(), UNIT.build_flax()), [x])
    truth, made = (runs.torch_forward(dtype, 0).outputs for dtype in ("float64", "float32"))
    scales = {path: measure.scale_of(value) for path, value in truth.items()}
    usual = _usual_errors([run.outputs for run in runs.rounded(0)], truth, scales)
    for path, value in truth.items():
        assert 1 / 4 < usual[path] / measure.rms_error(made[path], value, scales[path]) < 4, path


def test_products_in_bfloat16_are_seen():
    unit: Any = make_unit()
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


@pytest.mark.slow
def test_a_gate_that_hardly_matters_may_err_more_but_not_in_bfloat16():
    case, seed = BY_NAME["BottleNeck/se"], 135  # whose gate has gradients of 3e-4 of the others'
    x = np.random.default_rng(seed).normal(size=(2, 7, 9, 8)).astype(np.float32)
    ours: Any = case.build_flax()
    assert compare(case.build_torch(), ours, x, checks=("float32",), seed=seed).ok
    ours.spatial_se.reduce.conv_general_dilated = in_bfloat16
    report = compare(case.build_torch(), ours, x, checks=("float32",), seed=seed)
    assert "all gradients (input 0)" in {row.quantity for row in report.rows if row.ok is False}


@pytest.mark.parametrize(
    ("name", "kink"),
    [("relu", 0), ("relu6", 6), ("hard_sigmoid", -3), ("hard_sigmoid", 3), ("hard_swish", 3)],
)
def test_a_gradient_beyond_a_kink_is_not_judged(name: str, kink: float):
    spec = Spec("ConvNormAct", (1, 1, 1), {"norm": None, "act": Function(name)})
    theirs, ours = spec.build(torch_ref), spec.build(fb, rngs=nnx.Rngs(0))
    theirs.conv.weight.data.fill_(1)
    theirs.conv.bias.data.fill_(0)
    ours.conv.conv_general_dilated = lambda *args, **kwargs: (
        jax.lax.conv_general_dilated(*args, **kwargs) + 2 * ULPS * (args[0].dtype == jnp.float32)
    )
    x = np.array([1.0, 2.0, kink - ULPS, 5.0], np.float32).reshape(1, 2, 2, 1)
    report = compare(theirs, ours, x, checks=("float32",), randomize=False)
    row = next(row for row in report.rows if row.quantity.startswith("all gradients"))
    assert row.ok is None
    assert row.detail.endswith("JAX 1, PyTorch 0")


class TheirSum(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return F.relu(self.first(x) + self.second(x))


class OurSum(nnx.Module):
    def __init__(self):
        self.one, self.two = (nnx.Conv(1, 1, (1, 1), rngs=nnx.Rngs(0)) for _ in range(2))

    def __call__(self, x):
        return nnx.relu(self.one(x) + self.two(x) + ULPS * (x.dtype == jnp.float32))


class Around(nnx.Module):
    def __init__(self):
        self.part = OurSum()

    def __call__(self, x):
        return 2 * self.part(x)


class TheirAround(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = TheirSum()

    def forward(self, x):
        return 2 * self.body(x)


def test_a_kink_in_a_module_of_another_name_is_known_by_its_values():
    theirs = TheirAround()
    for parameter in theirs.parameters():
        parameter.data.fill_(float(parameter.ndim > 1) / 2)
    names = {"body.first": "part.one", "body.second": "part.two"}
    x = np.array([1.0, 2.0, -ULPS / 2, 5.0], np.float32).reshape(1, 2, 2, 1)
    report = compare(theirs, Around(), x, names=names, checks=("float32",), randomize=False)
    row = next(row for row in report.rows if row.quantity.startswith("all gradients"))
    assert row.ok is None
    assert row.detail.endswith("JAX 1, PyTorch 0")


@pytest.mark.parametrize(
    ("act", "at_input", "at_result"),
    [
        (nn.ReLU(), (0,), (0,)),
        (nn.Hardswish(), (-3, 3), (0, 3)),
        (nn.Hardtanh(-1, 2), (-1, 2), (-1, 2)),
        (nn.ReLU6(), (0, 6), (0, 6)),
        (lambda x: x.clamp(max=4), (4,), (4,)),
        (torch_ref.activations.hard_sigmoid, (-3,), ()),
        (nn.SiLU(), None, None),
    ],
)
def test_the_kinks_of_an_activation(act, at_input, at_result):
    x, paths = torch.zeros(2), {}
    with Kinks(paths) as kinks:
        paths[id(x)] = ["before"]
        y = act(x)
        paths[id(y)] = ["after"]
    found = kinks.found[:1]
    expected = {"before": at_input} | ({"after": at_result} if at_result else {})
    assert found == ([expected] if at_input else [])


def test_the_kinks_of_an_activation_in_place():
    x, paths = torch.zeros(2), {}
    with Kinks(paths) as kinks:
        paths[id(x)] = ["before"]
        assert F.hardswish(x, inplace=True) is x
        paths[id(x)].append("after")
    assert kinks.found == [{"before": (-3, 3), "after": (0, 3)}]
