"""Statistics of a part of the batch are those of PyTorch's replicas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import flaxblocks as fb
from flaxblocks.cli.training import statistics_groups
from flaxblocks.train import make_mesh, shard_batch, split_statistics
from tests.helpers.twins import assert_same

GROUPS, MOMENTUM = 4, 0.1


@torch.enable_grad()
def test_each_part_is_normalized_by_itself(x64):
    rng = np.random.default_rng(0)
    x, pull = rng.normal(2.0, 3.0, size=(2, 8, 3, 2, 5))
    norm = fb.BatchNorm(5, momentum=1 - MOMENTUM, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    split_statistics(norm, GROUPS)
    mesh = make_mesh()

    @jax.jit
    def run(x: jax.Array, pull: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, back = jax.vjp(lambda x: nnx.clone(norm)(x), x)
        return y, back(pull)[0]

    rows = shard_batch(mesh, {"x": x, "pull": pull})
    y, gradient = run(rows["x"], rows["pull"])
    norm(jnp.asarray(x))
    means, variances = [], []
    for part in range(GROUPS):
        theirs = torch.nn.BatchNorm2d(5, momentum=MOMENTUM).double()
        place = slice(2 * part, 2 * part + 2)
        given = torch.from_numpy(x[place].transpose(0, 3, 1, 2).copy()).requires_grad_()
        answer = theirs(given)
        answer.backward(torch.from_numpy(pull[place].transpose(0, 3, 1, 2).copy()))
        assert given.grad is not None
        assert_same(y[place], answer.detach().numpy().transpose(0, 2, 3, 1))
        assert_same(gradient[place], given.grad.numpy().transpose(0, 2, 3, 1))
        assert theirs.running_mean is not None and theirs.running_var is not None
        means.append(theirs.running_mean.numpy())
        variances.append(theirs.running_var.numpy())
    assert_same(norm.mean[...], np.mean(means, 0))
    assert_same(norm.var[...], np.mean(variances, 0))


def test_parts_that_the_rows_do_not_make_are_refused():
    norm = fb.BatchNorm(5, rngs=nnx.Rngs(0))
    split_statistics(norm, 3)
    with pytest.raises(ValueError, match="`groups` must divide the 4 rows of x, got 3"):
        norm(jnp.ones((4, 2, 2, 5)))
    with pytest.raises(ValueError, match="`groups` must be a positive integer, got 0"):
        split_statistics(norm, 0)
    with pytest.raises(ValueError, match="`sync_bn` must divide the 8 devices, got 3"):
        statistics_groups("3", 8)
