"""Equal networks that are written otherwise are equal, whatever their parts are called."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn

import flaxblocks as fb
from parity import compare
from parity.checks.tolerance import bound, conditioned

X = np.random.default_rng(0).normal(size=(2, 6, 6, 6)).astype(np.float32)
CHECKS = ("names", "float64", "gradients", "statistics")


def conv(window: int) -> nn.Conv2d:
    return nn.Conv2d(6, 6, window, padding=window // 2)


class Nested(nn.Module):
    """Blocks in groups."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(nn.Sequential(conv(3), conv(1)), nn.Sequential(conv(3)))

    def forward(self, x):
        return self.blocks(x)


class Flat(nnx.Module):
    """The same blocks in one list."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.blocks = nnx.List([fb.Conv(6, 6, k, rngs=rngs) for k in (3, 1, 3)])

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return x


GROUPS = {"blocks.0.0": "blocks.0", "blocks.0.1": "blocks.1", "blocks.1.0": "blocks.2"}


class ThenRelu(nn.Module):
    """A convolution, then its activation, then a norm over channels."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = conv(3), nn.LayerNorm(6)

    def forward(self, x):
        x = F.relu(self.conv(x))
        x = F.dropout(x, 0.5, self.training)
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvReLU(fb.Conv):
    """A convolution that includes its activation."""

    def __call__(self, x):
        return nnx.relu(super().__call__(x))


class WithRelu(nnx.Module):
    """The same, whose height equals its channels; dropout is off by default."""

    def __init__(self):
        self.settings = {"rates": [0.5]}
        self.conv = ConvReLU(6, 6, 3, rngs=nnx.Rngs(0))
        self.norm = nnx.LayerNorm(6, epsilon=1e-5, rngs=nnx.Rngs(0))
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

    def __call__(self, x, train: bool = False):
        return self.norm(self.dropout(self.conv(x), deterministic=not train))


class Normed(nn.Module):
    """A norm with statistics."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x):
        return self.norm(x)


class TrainArgument(nnx.Module):
    """The same, told the mode by an argument of its call, as JAX's examples are."""

    def __init__(self):
        self.norm = fb.BatchNorm(6, rngs=nnx.Rngs(0))

    def __call__(self, x, train: bool = False):
        return self.norm(x, use_running_average=not train)


@pytest.mark.parametrize(
    ("theirs", "ours", "names"),
    [
        (Nested, Flat, GROUPS),
        (ThenRelu, WithRelu, "native"),
        (Normed, TrainArgument, "native"),
    ],
)
def test_equal_networks_are_equal(theirs, ours, names):
    report = compare(theirs(), ours(), X, names=names, checks=CHECKS)
    assert report.ok, str(report)
    assert report.causes == ()


def test_a_difference_inside_is_a_note_where_the_whole_agrees():
    report = compare(ThenRelu(), WithRelu(), X, checks=["float64"])
    inside = [row for row in report.rows if row.detail == "only inside: the whole agrees"]
    assert {row.quantity.partition(" ")[0] for row in inside} == {"conv", "norm"}
    assert all(row.ok is None for row in inside)


@pytest.mark.parametrize(
    ("eps", "said"),
    [(1e-6, "1e-06"), (1e-12, "1e-12"), (0.0, "0"), (1.001e-5, "1.001e-05")],
)
def test_an_eps_of_a_layer_norm_is_not_taken_for_precision(eps, said):
    x = np.random.default_rng(0).normal(size=(4, 5, 6))
    theirs = nn.Sequential(nn.LayerNorm(6))
    ours = nnx.Sequential(nnx.LayerNorm(6, epsilon=eps, rngs=nnx.Rngs(0)))
    (found,) = compare(theirs, ours, x, checks=["float64"]).causes
    assert f"at 0 in eval mode: eps: JAX adds {said} to the variance, PyTorch 1e-05" in found


def test_what_cannot_be_proven_is_unknown():
    class Odd(Flat):
        def __call__(self, x):
            return super().__call__(jnp.sin(x))

    (found,) = compare(Nested(), Odd(), X, names=GROUPS, checks=["float64"]).causes
    assert "at blocks.0 in eval mode: off by" in found
    assert "cause unknown" in found


def test_a_counter_of_batches_may_be_absent():
    theirs, ours = (
        nn.Sequential(nn.BatchNorm2d(6)),
        nnx.Sequential(nnx.BatchNorm(6, momentum=0.9, rngs=nnx.Rngs(0))),
    )
    report = compare(theirs, ours, X, checks=["statistics"])
    failed = {row.quantity for row in report.rows if row.ok is False}
    assert failed == {"0.running_var (input 0)"}
    assert "variance bias" in report.causes[0]


def test_only_a_network_that_amplifies_rounding_may_differ_more():
    usual = bound("float64", "output")
    assert conditioned("output", 1e-6) == usual  # float32's error of a plain network
    assert usual < conditioned("output", 0.03) < 1e-8  # of a deep one on tiny maps
    assert conditioned("output", 1e9) == bound("float64", "deepest")


class WideNorm(nn.Module):
    """A norm over positions that takes its statistics in float32, as some of timm's do."""

    def forward(self, x):
        wide = x.float()
        deviation = wide.var((2, 3), unbiased=False, keepdim=True).add(1e-3).sqrt().to(x.dtype)
        return x / deviation


class FlaxNorm(nnx.Module):
    def __init__(self, eps):
        self.eps = eps

    def __call__(self, x):
        return x / jnp.sqrt(x.var((1, 2), keepdims=True) + self.eps)


@pytest.mark.parametrize("eps", [1e-3, 1e-2])
def test_statistics_in_float32_are_no_difference_in_float64(eps):
    theirs = nn.Sequential(conv(3), WideNorm(), nn.BatchNorm2d(6, eps=1e-5))
    norm = fb.BatchNorm(6, epsilon=eps / 100, rngs=nnx.Rngs(0))
    ours = nnx.Sequential(fb.Conv(6, 6, 3, rngs=nnx.Rngs(0)), FlaxNorm(1e-3), norm)
    report = compare(theirs, ours, X, checks=CHECKS)
    assert report.ok is (eps == 1e-3)
    assert ["eps" in cause and "1e-05" in cause for cause in report.causes] == [True] * (eps > 1e-3)


class TorchGate(nn.Module):
    """A gate that is half open where large terms cancel, which float32 holds exactly."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1, bias=False)
        self.linear.weight.data.copy_(torch.tensor([-3 * 2**18, 5 * 2**18, 1]))

    def forward(self, x):
        return torch.sigmoid(self.linear(x))


class FlaxGate(nnx.Module):
    """The same, which rounds before it sums."""

    def __init__(self, scale):
        self.linear = nnx.Linear(3, 1, use_bias=False, rngs=nnx.Rngs(0))
        self.scale = scale

    def __call__(self, x):
        return nnx.sigmoid(self.scale * self.linear(x / 7))


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-6])
def test_a_lucky_run_in_float32_does_not_hide_what_rounding_does(factor):
    x = np.array([[5, 3, 0.5], [10, 6, -0.25], [5, 3, 1.5]])
    report = compare(
        TorchGate(), FlaxGate(7 * factor), x, randomize=False, checks=("float64", "gradients")
    )
    assert report.ok is (factor == 1)
    (whole,) = (row for row in report.rows if row.quantity == "the whole module (eval, input 0)")
    assert bound("float64", "output") < whole.limit < bound("float64", "deepest")
    assert whole.value > bound("float64", "output")
