"""Networks that amplify rounding, and wide depthwise convolutions, are still told in float64."""

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

import flaxblocks as fb
from parity import compare
from parity.checks.tolerance import bound
from parity.diagnosis import diagnose
from parity.diagnosis.search import Result
from parity.sides import flax_side
from parity.sides.pairing import pair_up
from parity.sides.runs import Runs
from parity.trace.equations import equations_of
from parity.trace.jax_program import JaxProgram, Value
from parity.trace.match import Index

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype(np.float32)
STEPS = 3
FACTOR, CHAOTIC = 1e3, 3e3


class Amplifier(nn.Module):
    """Sines of large numbers, of which rounding's last bits become digits, and a norm."""

    def __init__(self, factor=FACTOR, trains=True):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)
        self.factor, self.trains = factor, trains

    def forward(self, x):
        x = self.conv(x)
        for _ in range(0 if self.training and not self.trains else STEPS):
            x = torch.sin(self.factor * x)
        return self.last(self.norm(x))


class Port(nnx.Module):
    """The same in Flax."""

    def __init__(self, epsilon=1e-5, factor=FACTOR, trains=True):
        self.factor, self.trains = factor, trains
        rngs = nnx.Rngs(0)
        self.conv, self.last = fb.Conv(4, 4, 1, rngs=rngs), fb.Conv(4, 3, 1, rngs=rngs)
        self.norm = fb.BatchNorm(4, epsilon=epsilon, rngs=rngs)

    def __call__(self, x, train=False):
        x = self.conv(x)
        for _ in range(0 if train and not self.trains else STEPS):
            x = jnp.sin(x * self.factor)
        return self.last(self.norm(x))


def test_a_fault_is_named_where_it_is_behind_what_amplifies_rounding():
    report = compare(Amplifier(), Port(epsilon=1e-3), X, checks=("names", "float64"))
    (cause,) = report.causes
    assert "at norm in eval mode: eps: JAX adds 0.001 to the variance, PyTorch 1e-05" in cause
    assert "(in JAX test_parity_amplified.py:" in cause  # what JAX computes there is known too


def test_rounded_runs_are_made_only_where_they_are_asked_for():
    plain = nn.Sequential(OrderedDict(conv=nn.Conv2d(4, 8, 3, padding=1, groups=4)))
    runs = Runs(pair_up(plain, Depthwise()), [X])
    assert runs.limit("output", 0, False) == bound("float64", "output")
    assert not [key for key in runs.made if "from rounded" in str(key)]


def test_what_amplifies_rounding_is_no_fault():
    report = compare(Amplifier(), Port(), X, checks=("names", "float64"))
    assert report.ok, report


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [
        (1e-3, "at norm in train mode: eps: JAX adds 0.001 to the variance, PyTorch 1e-05"),
        (1e-5, "cause unknown: rounding alone moves PyTorch's own by"),
    ],
)
def test_what_rounding_alone_may_do_is_no_proof(epsilon, text):
    pair = Amplifier(CHAOTIC, trains=False), Port(epsilon, CHAOTIC, trains=False)
    (cause,) = compare(*pair, X, checks=("names", "float64")).causes
    assert text in cause


def test_where_rounding_drowns_both_modes_it_is_said_to():
    pair = Amplifier(CHAOTIC), Port(factor=CHAOTIC)
    causes = compare(*pair, X, checks=("names", "float64")).causes
    assert causes
    assert all("cause unknown: rounding alone moves PyTorch's own by" in c for c in causes)


def test_what_rounding_moves_as_far_as_it_is_large_is_found_nowhere():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 8))
    index = Index([Value(x, "mul", ""), Value(np.maximum(x, 0), "max", "")])
    tensor = torch.from_numpy(x)
    assert index.find(tensor) == {0}
    assert index.find(tensor + 1e-6, drift=1e-5) == {0}
    assert index.find(tensor, drift=1.0) == frozenset()


class Depthwise(nnx.Module):
    """NNX's own convolution in groups."""

    def __init__(self, **options):
        self.conv = nnx.Conv(4, 8, (3, 3), feature_group_count=4, rngs=nnx.Rngs(0), **options)

    def __call__(self, x):
        return self.conv(x)


def groups_of(jaxpr):
    found = [e for e in equations_of(jaxpr) if e.primitive.name == "conv_general_dilated"]
    return [equation.params["feature_group_count"] for equation in found]


def test_in_float64_no_convolution_in_groups_is_xlas_own():
    def own(*args, **kwargs):
        return jax.lax.conv_general_dilated(*args, **kwargs)

    weights = fb.state_dict(Depthwise())

    def taken_by(module, dtype):
        copy: Any = flax_side.with_weights(module, weights, dtype)
        return copy.conv.conv_general_dilated

    taken = {
        (dtype, given): taken_by(module, dtype)
        for dtype in ("float32", "float64")
        for given, module in (("", Depthwise()), ("own", Depthwise(conv_general_dilated=own)))
    }
    assert taken == {
        ("float32", ""): jax.lax.conv_general_dilated,
        ("float32", "own"): own,
        ("float64", ""): fb.ops.conv_general_dilated,
        ("float64", "own"): own,
    }


def test_of_a_program_it_is_none_either():
    def function(x):
        kernel = jnp.cos(jnp.arange(72.0)).reshape(3, 3, 1, 8)
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=4
        )

    with flax_side.precision("float64"):
        x = jnp.asarray(X, jnp.float64)
        program = JaxProgram.of(function, x)
        again = jax.make_jaxpr(program.outputs)((x,)).jaxpr
        assert groups_of(program.jaxpr.jaxpr) == [4]
        assert not groups_of(again)
        np.testing.assert_allclose(program.outputs((x,)), function(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("error", "drift", "expected"),
    [(1e-3, 2e-3, True), (1e-3, 5e-4, False), (1.0, 0.02, True), (1.0, 5e-3, False)],
)
def test_a_cause_is_open_where_rounding_explains_the_error_or_drowns_it(
    error, drift, expected, monkeypatch
):
    monkeypatch.setattr(diagnose, "drift", lambda *_: drift)
    search: Any = SimpleNamespace(limit=1e-9, training=False)
    runs: Any = None
    assert diagnose._is_rounding(runs, search, Result([], None, error)) is expected
