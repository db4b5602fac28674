"""Weights that are tied: on both sides they are equal, on one side alone that is said."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from flax import linen, nnx
from torch import nn

from parity import CHECKS, compare

pytestmark = pytest.mark.usefixtures("quick")

WORDS, SIZE = 7, 6
TOKENS = np.random.default_rng(0).integers(0, WORDS, size=(3, 5))
ROWS = np.random.default_rng(0).normal(size=(3, SIZE)).astype(np.float32)
MEANING = ("names", "float64", "gradients", "statistics")


class TorchLanguage(nn.Module):
    """Words, a hidden layer, and logits over the words by the embedding's own matrix."""

    def __init__(self, tied=True):
        super().__init__()
        self.embed, self.hidden = nn.Embedding(WORDS, SIZE), nn.Linear(SIZE, SIZE)
        self.head = nn.Linear(SIZE, WORDS, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(torch.tanh(self.hidden(self.embed(tokens))))


class TorchFunctional(TorchLanguage):
    """The same, without a layer for the logits."""

    def __init__(self):
        super().__init__()
        del self.head

    def forward(self, tokens):
        return F.linear(torch.tanh(self.hidden(self.embed(tokens))), self.embed.weight)


class FlaxLanguage(nnx.Module):
    def __init__(self, tied=True):
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(WORDS, SIZE, rngs=rngs)
        self.hidden = nnx.Linear(SIZE, SIZE, rngs=rngs)
        self.head = None if tied else nnx.Linear(SIZE, WORDS, use_bias=False, rngs=rngs)

    def __call__(self, tokens):
        x = jnp.tanh(self.hidden(self.embed(tokens)))
        return self.embed.attend(x) if self.head is None else self.head(x)


class LinenLanguage(linen.Module):
    @linen.compact
    def __call__(self, tokens):
        embed = linen.Embed(WORDS, SIZE, name="embed")
        return embed.attend(jnp.tanh(linen.Dense(SIZE, name="hidden")(embed(tokens))))


class TorchTwice(nn.Module):
    """A layer that is called twice: under one name, or under two."""

    def __init__(self, second="a"):
        super().__init__()
        self.a = nn.Linear(SIZE, SIZE)
        if second == "b":
            self.b = self.a
        elif second == "apart":
            self.b = nn.Linear(SIZE, SIZE)

    def forward(self, x):
        return getattr(self, "b", self.a)(torch.tanh(self.a(x)))


class FlaxTwice(nnx.Module):
    def __init__(self, second="a"):
        rngs = nnx.Rngs(0)
        self.a = nnx.Linear(SIZE, SIZE, rngs=rngs)
        self.b = self.a
        if second == "apart":
            self.b = nnx.Linear(SIZE, SIZE, rngs=rngs)
        elif second == "kernel":
            self.b = nnx.Linear(SIZE, SIZE, rngs=rngs)
            self.b.kernel, self.b.bias = self.a.kernel, self.a.bias
        elif second == "a":
            del self.b

    def __call__(self, x):
        return getattr(self, "b", self.a)(jnp.tanh(self.a(x)))


@pytest.mark.parametrize(
    ("theirs", "ours", "names"),
    [
        (TorchLanguage, FlaxLanguage, "native"),
        (TorchLanguage, FlaxLanguage, "found"),
        (TorchFunctional, FlaxLanguage, "native"),
        pytest.param(TorchLanguage, LinenLanguage, "found", marks=pytest.mark.slow),
    ],
)
def test_logits_by_the_embedding_are_equal_in_every_check(theirs, ours, names):
    report = compare(theirs(), ours(), TOKENS, names=names, checks=tuple(CHECKS))
    assert report.ok, str(report)
    assert "embed.weight (input 0)" in {row.quantity for row in report.of("gradients")}


@pytest.mark.parametrize("names", ["native", "found"])
@pytest.mark.parametrize("ours", ["a", "b", "kernel"])
@pytest.mark.parametrize("theirs", ["a", "b"])
def test_a_layer_in_two_places_is_equal(theirs, ours, names):
    report = compare(TorchTwice(theirs), FlaxTwice(ours), ROWS, names=names, checks=MEANING)
    assert report.ok, str(report)
    assert "a.weight (input 0)" in {row.quantity for row in report.of("gradients")}


def test_each_call_of_a_layer_is_compared():
    report = compare(TorchTwice(), FlaxTwice(), ROWS, checks=["float64"])
    assert {"a (eval, input 0)", "a, call 2 (eval, input 0)"} <= {r.quantity for r in report.rows}


@pytest.mark.parametrize(
    ("theirs", "ours", "x", "cause"),
    [
        (
            TorchLanguage(),
            FlaxLanguage(tied=False),
            TOKENS,
            "at embed in any mode: tied weights: PyTorch has one tensor for embed.weight and "
            "head.weight, JAX 2, also at head; to mend it: share the variable",
        ),
        (
            TorchLanguage(tied=False),
            FlaxLanguage(),
            TOKENS,
            "at embed in any mode: tied weights: JAX has one tensor for embed.weight and "
            "head.weight, PyTorch 2, also at head; to mend it: give each layer a variable of its "
            "own",
        ),
        (
            TorchTwice("apart"),
            FlaxTwice("b"),
            ROWS,
            "at a in any mode: tied weights: JAX has one tensor for a.weight and b.weight, "
            "PyTorch 2, also at b; to mend it: give each layer a variable of its own",
        ),
        (
            TorchTwice("b"),
            FlaxTwice("apart"),
            ROWS,
            "at a in any mode: tied weights: PyTorch has one tensor for a.weight and b.weight, "
            "JAX 2, also at b; to mend it: share the variable",
        ),
    ],
)
def test_weights_tied_on_one_side_are_said(theirs, ours, x, cause):
    report = compare(theirs, ours, x, checks=MEANING)
    assert not report.ok
    assert report.causes[0] == f"first divergence {cause}"
    assert all("tied weights" in other for other in report.causes)
    assert all(row.ok is not False for row in report.of("float64"))


def test_a_tensor_that_only_pytorch_has_is_not_called_tied_where_it_is_not():
    class Odd(FlaxLanguage):
        def __call__(self, tokens):
            return 2 * super().__call__(tokens)

    report = compare(TorchLanguage(tied=False), Odd(), TOKENS, checks=["names"])
    assert not report.ok
    assert report.causes == ("no likely cause found",)


def square() -> nn.Linear:
    return nn.Linear(4, 4, bias=False)


class TorchThree(nn.Module):
    """Three layers, of which the first has another shape than the others."""

    def __init__(self):
        super().__init__()
        self.first, self.a, self.b = nn.Linear(SIZE, 4), square(), square()

    def forward(self, x):
        return self.b(torch.tanh(self.a(torch.tanh(self.first(x)))))


class FlaxThree(nnx.Module):
    def __init__(self, read=lambda x: x):
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(SIZE, 4, rngs=rngs)
        self.a = nnx.Linear(4, 4, use_bias=False, rngs=rngs)
        self.read = read

    def __call__(self, x):
        return self.read(self.a(jnp.tanh(self.a(jnp.tanh(self.first(x))))))


def test_a_tensor_is_tied_to_one_of_its_shape():
    report = compare(TorchThree(), FlaxThree(), ROWS, checks=["names"])
    assert "JAX has one tensor for a.weight and b.weight" in report.causes[0]


def test_a_port_of_another_outputs_shape_is_not_called_tied():
    report = compare(TorchThree(), FlaxThree(lambda x: x[:, :3]), ROWS, checks=["names"])
    assert report.causes == ("no likely cause found",)
