"""Functions and programs are compared as modules are, whatever they take and give."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn

from parity import compare
from parity.trace.constants import unrounded
from parity.trace.jax_program import JaxProgram
from parity.trace.widen import in_float64

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
CHECKS = ("names", "float64", "gradients")


def torch_net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 2))


def apply(params, x, eps=1e-5):
    """The same as a pure function of a tree."""
    x = x @ params["0"]["kernel"] + params["0"]["bias"]
    x = x - x.mean(-1, keepdims=True)
    x = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + eps)
    x = x * params["1"]["scale"] + params["1"]["bias"]
    return jax.nn.gelu(x, approximate=False) @ params["3"]["kernel"] + params["3"]["bias"]


PARAMS = {
    "0": {"kernel": np.ones((6, 5)), "bias": np.ones(5)},
    "1": {"scale": np.ones(5), "bias": np.ones(5)},
    "3": {"kernel": np.ones((5, 2)), "bias": np.ones(2)},
}


def exported() -> torch.export.ExportedProgram:
    return torch.export.export(torch_net().eval(), (torch.from_numpy(X),))


def scripted() -> torch.jit.ScriptModule:
    return torch.jit.script(torch_net())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
@pytest.mark.parametrize("make", [torch_net, exported, scripted])
def test_a_function_is_compared_with_a_module_and_with_programs(make):
    report = compare(make(), (apply, PARAMS), X, checks=CHECKS)
    assert report.ok, str(report)


@pytest.mark.parametrize("make", [torch_net, exported])
def test_the_fault_of_a_function_is_found(make):
    def wrong(params, x):
        return apply(params, x, eps=1e-3)

    causes = compare(make(), (wrong, PARAMS), X, checks=["float64"]).causes
    assert "at 1 in eval mode: eps: JAX adds 0.001 to the variance, PyTorch 1e-05" in causes[0]


def test_a_function_of_pytorch_is_compared_too():
    report = compare(torch.sigmoid, (lambda params, x: jax.nn.sigmoid(x), {}), X, checks=CHECKS)
    assert report.ok, str(report)


NET = torch_net()


def of_the_globals(x):
    return NET(x)


def closing_over(net):
    return lambda x: net(x)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (closing_over(torch_net()), "net"),
        (of_the_globals, "NET"),
        (torch_net().forward, "module"),
        (closing_over(torch_net().forward), "module"),
        (partial(lambda net, x: net(x), torch_net()), "argument_0"),
        (partial(lambda x, net: net(x), net=torch_net()), "net"),
    ],
)
def test_what_a_function_of_pytorch_holds_is_its_parameters(function, name):
    report = compare(function, (apply, PARAMS), X, names="found", checks=CHECKS)
    assert report.ok, str(report)
    assert report.names[f"{name}.0.weight"] == "0.weight"
    wrong = partial(apply, eps=1e-3)
    (cause,) = compare(function, (wrong, PARAMS), X, names="found", checks=["float64"]).causes
    assert "at 1 in eval mode: eps: JAX adds 0.001" in cause


def test_what_is_global_in_other_functions_stays_as_it_is():
    before = {name: value.clone() for name, value in NET.state_dict().items()}
    compare(of_the_globals, (apply, PARAMS), X, names="found", checks=["float64"])
    assert all(torch.equal(value, before[name]) for name, value in NET.state_dict().items())
    assert of_the_globals(torch.ones(1, 6)).dtype == torch.float32


class Tagger(nn.Module):
    """Takes tokens and a mask by name, and gives two outputs; its embedding is its classifier."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 6)
        self.mix = nn.Conv1d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("order", torch.arange(4))

    def forward(self, tokens, scale):
        x = self.embed(tokens) * scale
        x = F.relu(self.mix(x.transpose(1, 2))).transpose(1, 2)
        return {"logits": self.head(x), "pooled": (x.mean(1), x.amax(1))}


class Port(nnx.Module):
    """The same in Flax."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(9, 6, rngs=rngs)
        self.mix = nnx.Conv(6, 6, 3, rngs=rngs)

    def __call__(self, tokens, scale):
        x = nnx.relu(self.mix(self.embed(tokens) * scale))
        return {"logits": self.embed.attend(x), "pooled": (x.mean(1), x.max(1))}


def test_several_inputs_and_outputs_are_compared():
    rng = np.random.default_rng(0)
    x = {"tokens": rng.integers(0, 9, (2, 4)), "scale": rng.normal(size=(2, 4, 1))}
    report = compare(Tagger(), Port(), x, checks=CHECKS)
    assert report.ok, str(report)
    compared = {row.quantity.partition(" (")[0] for row in report.rows}
    assert {"the whole module", "output pooled.0", "output pooled.1", "input"} <= compared
    swapped = Port()
    swapped.mix.kernel_size = (3,)
    swapped.mix.padding = "CAUSAL"
    (cause,) = compare(Tagger(), swapped, x, checks=["float64"]).causes
    assert "first divergence at mix in eval mode" in cause


class Filter(nn.Module):
    """Multiplies a signal's spectrum by complex weights, and puts it in an order of integers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, dtype=torch.complex64))
        self.register_buffer("order", torch.tensor([2, 0, 1, 3, 5, 4]))
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(torch.fft.ifft(torch.fft.fft(x) * self.weight).real[..., self.order])


class FlaxFilter(nnx.Module):
    """The same in Flax."""

    def __init__(self, turned=lambda weight: weight):
        self.weight = nnx.Param(jnp.zeros(6, jnp.complex64))
        self.order = nnx.BatchStat(jnp.arange(6))
        self.fc = nnx.Linear(6, 3, rngs=nnx.Rngs(0))
        self.turned = turned

    def __call__(self, x):
        spectrum = jnp.fft.fft(x) * self.turned(self.weight[...])
        return self.fc(jnp.fft.ifft(spectrum).real[..., self.order[...]])


def test_complex_and_integer_tensors_are_taken_as_they_are():
    report = compare(Filter(), FlaxFilter(), X, checks=(*CHECKS, "trajectory"))
    assert report.ok, str(report)
    assert report.passed("trajectory") is None
    assert not compare(Filter(), FlaxFilter(jnp.conj), X, checks=["float64"]).ok


def test_a_signal_has_its_channels_first_in_pytorch():
    theirs = nn.Sequential(nn.Conv1d(6, 4, 3, padding=1))
    ours = nnx.Sequential(nnx.Conv(6, 4, 3, rngs=nnx.Rngs(0)))
    assert compare(theirs, ours, X, checks=CHECKS).ok


def test_constants_are_what_float32_rounded():
    for value in (0.99, 1e-3, 1 / 3, 0.5**0.5, (2 / np.pi) ** 0.5, 1 / 168, 0.044715, -1.702):
        assert unrounded(float(np.float32(value))) == pytest.approx(value, rel=1e-15)


def test_a_program_for_float32_keeps_float64():
    def narrow(x):
        return jnp.float32(0.1) * x.astype(jnp.float32)

    with jax.enable_x64(True):
        x = jnp.asarray(1 / 7, "float64")
        assert float(jax.jit(in_float64(narrow))(x)) == pytest.approx(0.1 / 7, rel=1e-15)
        assert in_float64(narrow)(jnp.float32(1)).dtype == jnp.float32


def scanned_equal(x, y):
    return jax.lax.map(lambda pair: jnp.equal(*pair), (x, y))


@pytest.mark.parametrize("equal", [jnp.equal, scanned_equal])
def test_what_rounding_alone_tells_apart_is_equal(equal):
    with jax.enable_x64(True):
        x = jnp.asarray([1, 1, 1, jnp.inf, jnp.inf, jnp.nan])
        y = jnp.asarray([1, 1 + 2.0**-52, 1 + 1e-12, jnp.inf, 1, jnp.nan])
        found = JaxProgram.of(equal, x, y).outputs((x, y))
    assert found.tolist() == [True, True, False, True, False, False]


def test_what_is_near_to_a_constant_is_not_equal_to_it():
    with jax.enable_x64(True):
        x = jnp.asarray([1, 1e-20, 0])
        found = JaxProgram.of(lambda x: x == 0, x).outputs((x,))
    assert found.tolist() == [False, False, True]
