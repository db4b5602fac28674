"""Recalibration: the mean statistics of some batches, as PyTorch's `update_bn` has them."""

import jax
import numpy as np
import optax
import pytest
import torch
from flax import nnx

import flaxblocks as fb
from flaxblocks.train import create_state, recalibrate, under
from flaxblocks.train.step.recalibrate import remembered
from tests.helpers.tolerance import bound


class Ours(nnx.Module):
    def __init__(self):
        self.first = fb.BatchNorm(3, momentum=0.99, rngs=nnx.Rngs(0))
        self.second = fb.BatchNorm(3, momentum=0.99, rngs=nnx.Rngs(0))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(self.first(x) ** 2)


traces: list[tuple[int, ...]] = []


class Traced(nnx.Module):
    """A network that says when it is traced."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.norm = fb.BatchNorm(3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        traces.append(x.shape)
        return self.norm(x)


class Theirs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x) ** 2)


def batches(dtype: type) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"image": rng.normal(3, 2, (4, 5, 5, 3)).astype(dtype)} for _ in range(3)]


def test_statistics_are_those_of_pytorchs_update_bn(x64):
    theirs = Theirs().double()
    images = [torch.from_numpy(b["image"]).permute(0, 3, 1, 2) for b in batches(np.float64)]
    torch.optim.swa_utils.update_bn(images, theirs)
    ours = nnx.jit(Ours)()
    nnx.update(ours, jax.tree.map(lambda a: a.astype(np.float64), nnx.state(ours, nnx.Param)))
    state = create_state(ours, optax.sgd(0.1), average=True)
    found = recalibrate(state, batches(np.float64))
    for name in ("first", "second"):
        norm = getattr(theirs, name)
        for statistics in (found.statistics, found.average[1]):
            for got, truth in (("mean", norm.running_mean), ("var", norm.running_var)):
                scale = truth.abs().max()
                error = np.abs(np.asarray(statistics[name][got]) - truth.numpy()).max()
                assert error <= bound("float32", "output") * scale  # in which they are kept
    assert jax.tree.all(jax.tree.map(np.array_equal, found.params, state.params))


def test_frozen_statistics_keep_their_bits():
    state = create_state(Ours(), optax.sgd(0.1), trainable=under("second"))
    found = recalibrate(state, batches(np.float32))
    before, after = state.statistics, found.statistics
    assert jax.tree.all(jax.tree.map(np.array_equal, before["first"], after["first"]))
    assert not np.array_equal(before["second"]["mean"], after["second"]["mean"])


def test_one_program_serves_every_call():
    """A run recalibrates before each evaluation."""
    for seed in range(3):
        recalibrate(create_state(Traced(rngs=nnx.Rngs(seed)), optax.sgd(0.1)), batches(np.float32))
    assert len(traces) == 1


def test_what_a_short_run_remembers_of_its_first_statistics():
    assert remembered(Ours(), 54) == pytest.approx(0.99**54)
    assert remembered(fb.Conv(3, 4, 3, rngs=nnx.Rngs(0)), 54) == 0


def test_there_must_be_a_batch():
    with pytest.raises(ValueError, match="`batches` must be one or more, got none"):
        recalibrate(create_state(Ours(), optax.sgd(0.1)), [])
