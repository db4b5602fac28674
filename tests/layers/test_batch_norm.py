"""Batch normalization: what PyTorch normalizes by, and what it stores."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec

import flaxblocks as fb
from tests.helpers.tolerance import bound
from tests.helpers.twins import assert_same, image
from tests.helpers.typed import gradient_of, present
from torch_ref.harness.layout import from_nhwc

SHAPES = [(2, 1, 1, 5), (3, 5, 4, 5), (1, 2, 3, 5)]
SETTINGS = [{}, {"momentum": 0.99, "epsilon": 1e-3}, {"momentum": 0.0}, {"momentum": 1.0}]


def twins(shape=(3, 5, 4, 5), **settings) -> tuple[fb.BatchNorm, torch.nn.BatchNorm2d]:
    """Return the layer in float64 and PyTorch's own, with random parameters and statistics."""
    channels = shape[-1]
    theirs = torch.nn.BatchNorm2d(
        channels, eps=settings.get("epsilon", 1e-5), momentum=1 - settings.get("momentum", 0.9)
    ).double()
    rng = np.random.default_rng(1)
    for name, value in theirs.state_dict().items():
        if name != "num_batches_tracked":
            value.copy_(torch.from_numpy(rng.uniform(0.5, 2.0, channels)))
    ours = fb.BatchNorm(channels, **settings, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    fb.load_state_dict(ours, theirs.state_dict())
    return ours, theirs


def apply_torch(norm: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    y = norm(from_nhwc(x))
    return y.detach().numpy().transpose(0, 2, 3, 1)


def assert_same_statistics(ours: fb.BatchNorm, theirs: torch.nn.BatchNorm2d) -> None:
    assert_same(ours.mean[...], present(theirs.running_mean).numpy(), "statistic")
    assert_same(ours.var[...], present(theirs.running_var).numpy(), "statistic")
    assert int(ours.num_batches_tracked[...]) == int(present(theirs.num_batches_tracked))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_pytorch_over_steps_and_then_in_eval_mode(shape: tuple, settings: dict, x64):
    ours, theirs = twins(shape, **settings)
    x = image(shape)
    for step in range(3):
        x = 3 * image(shape, seed=step) + 1
        assert_same(ours(jnp.asarray(x)), apply_torch(theirs, x))
        assert_same_statistics(ours, theirs)
    ours.eval()
    theirs.eval()
    assert_same(ours(jnp.asarray(x)), apply_torch(theirs, x))
    assert_same_statistics(ours, theirs)


def test_normalizes_by_the_biased_variance_and_stores_the_unbiased(x64):
    norm = fb.BatchNorm(1, epsilon=0.0, momentum=0.0, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    x = jnp.asarray([1.0, 3.0, 5.0, 7.0]).reshape(4, 1, 1, 1)
    y = norm(x)
    assert_same((y**2).mean(), np.float64(1.0))  # divided by the biased variance, 5
    assert_same(norm.var[0], np.float64(20 / 3), "statistic")
    assert_same(norm.mean[0], np.float64(4.0), "statistic")


def test_momentum_is_the_decay(x64):
    norm = fb.BatchNorm(1, momentum=0.75, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    norm(jnp.asarray([7.0, 9.0]).reshape(2, 1, 1, 1))
    assert_same(norm.mean[0], np.float64(0.25 * 8), "statistic")


def test_gradients_flow_through_the_batch_statistics(x64):
    ours, theirs = twins()
    x, weight = image((3, 5, 4, 5)), image((3, 5, 4, 5), seed=1)
    graphdef, params, rest = nnx.split(ours, nnx.Param, ...)

    def loss(params, x):
        return (nnx.merge(graphdef, params, rest, copy=True)(x) * weight).sum()

    of_params, of_x = jax.grad(loss, (0, 1))(params, jnp.asarray(x))

    tensor = from_nhwc(x).requires_grad_()
    (theirs(tensor) * from_nhwc(weight)).sum().backward()
    assert_same(of_x, gradient_of(tensor).transpose(0, 2, 3, 1), "gradient")
    assert_same(of_params["scale"][...], gradient_of(theirs.weight), "gradient")
    assert_same(of_params["bias"][...], gradient_of(theirs.bias), "gradient")


def test_refuses_one_value_per_channel_in_train_mode_as_pytorch_does():
    norm, x = fb.BatchNorm(3, rngs=nnx.Rngs(0)), jnp.ones((1, 1, 1, 3))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch.nn.BatchNorm2d(3)(torch.ones(1, 3, 1, 1))
    with pytest.raises(ValueError, match="`x` must hold more than one value per channel"):
        norm(x)
    with pytest.raises(ValueError, match="`x` must hold more than one value per channel"):
        nnx.jit(lambda norm, x: norm(x))(norm, x)
    assert int(norm.num_batches_tracked[...]) == 0
    norm.eval()
    assert norm(x).shape == x.shape


def test_an_empty_batch_leaves_the_statistics_as_in_pytorch(x64):
    ours, theirs = twins()
    x = np.zeros((0, 5, 4, 5))
    assert_same(ours(jnp.asarray(x)), apply_torch(theirs, x))
    assert_same_statistics(ours, theirs)
    gradients = nnx.grad(lambda norm, x: norm(x).sum())(ours, jnp.asarray(x))
    assert not np.any(gradients["scale"][...]) and not np.any(gradients["bias"][...])


@pytest.mark.parametrize("shape", [(2, 7, 9, 8), (8, 56, 56, 3)], ids=str)
@pytest.mark.parametrize("mean,deviation", [(1000, 0.01), (-10_000, 1), (0, 1)])
def test_is_no_less_accurate_than_pytorch_far_from_zero(
    shape: tuple, mean: float, deviation: float
):
    x = (mean + deviation * image(shape)).astype(np.float32)
    exact = x.astype(np.float64)
    truth = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-5)
    norm, twin = fb.BatchNorm(shape[-1], rngs=nnx.Rngs(0)), torch.nn.BatchNorm2d(shape[-1])

    ours = nnx.jit(lambda norm, x: norm(x))(norm, jnp.asarray(x))

    limit = max(np.abs(apply_torch(twin, x) - truth).max(), bound("float32", "output"))
    assert np.abs(ours - truth).max() <= limit
    stored = 0.1 * exact.mean((0, 1, 2)), 0.9 + 0.1 * exact.var((0, 1, 2), ddof=1)
    for ours, truth in zip((norm.mean, norm.var), stored, strict=True):
        np.testing.assert_allclose(ours[...], truth, rtol=bound("float32", "output"), atol=limit)


def test_statistics_are_float32_under_bfloat16():
    """In bfloat16 the mean of 4,096 values around 256 would be off by whole units."""
    norm = fb.BatchNorm(2, momentum=0.0, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x = jnp.asarray(256 + 8 * image((1, 64, 64, 2)), jnp.bfloat16)
    exact = np.asarray(x, np.float64)

    y = norm(x)

    assert y.dtype == jnp.bfloat16
    assert norm.mean[...].dtype == norm.var[...].dtype == jnp.float32
    limit = bound("float32", "output")
    np.testing.assert_allclose(norm.mean[...], exact.mean((0, 1, 2)), rtol=limit)
    np.testing.assert_allclose(norm.var[...], exact.var((0, 1, 2), ddof=1), rtol=limit)
    normal = (exact - exact.mean((0, 1, 2))) / exact.std((0, 1, 2))
    atol = bound("bfloat16", "output") * np.abs(normal).max()
    np.testing.assert_allclose(np.asarray(y, np.float64), normal, atol=atol, rtol=0)


def test_pythons_float_means_float64_where_there_is_one(x64):
    norm = fb.BatchNorm(2, dtype=float, param_dtype=float, rngs=nnx.Rngs(0))
    x = image((2, 3, 3, 2))
    y = norm(jnp.asarray(x))
    assert_same(norm.mean[...], 0.1 * x.mean((0, 1, 2)), "statistic")
    assert_same(y, (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5))


def test_takes_any_rank_with_the_channels_last(x64):
    ours, _ = twins()
    x = image((3, 5, 4, 5))
    other = nnx.clone(ours)
    y = other(jnp.asarray(x.reshape(60, 5)))
    assert_same(y.reshape(x.shape), ours(jnp.asarray(x)))


def test_the_switches_of_nnx_and_the_calls_own():
    norm = fb.BatchNorm(2, rngs=nnx.Rngs(0))
    x = jnp.asarray(image((2, 2, 2, 2)), jnp.float32)
    norm.eval()
    norm(x)
    norm(x, use_running_average=True)
    assert int(norm.num_batches_tracked[...]) == 0
    norm(x, use_running_average=False)
    norm.train()
    norm(x)
    assert int(norm.num_batches_tracked[...]) == 2


def four_devices() -> tuple[NamedSharding, NamedSharding]:
    """Return the layouts of a batch spread over four devices and of a copy on each."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())


def uneven_batch() -> np.ndarray:
    """Return eight images whose means differ, so that each device's statistics do."""
    return image((8, 3, 3, 5)) + np.arange(8).reshape(8, 1, 1, 1)


def test_a_batch_sharded_over_devices_is_one_global_batch(x64):
    (whole, _), (sharded, _) = twins(), twins()
    spread, everywhere = four_devices()
    x = jax.device_put(uneven_batch(), spread)
    nnx.update(sharded, jax.device_put(nnx.state(sharded), everywhere))

    y = nnx.jit(lambda norm, x: norm(x))(sharded, x)

    assert len(y.sharding.device_set) == 4
    assert_same(y, whole(jnp.asarray(uneven_batch())))
    assert_same(sharded.mean[...], whole.mean[...], "statistic")
    assert_same(sharded.var[...], whole.var[...], "statistic")


def test_axis_name_makes_one_batch_of_what_shard_map_splits(x64):
    (whole, _), (named, _) = twins(), twins(axis_name="data")
    spread, everywhere = four_devices()
    graphdef, state = nnx.split(named)

    @partial(
        jax.shard_map,
        mesh=spread.mesh,
        in_specs=(everywhere.spec, spread.spec),
        out_specs=(spread.spec, everywhere.spec),
    )
    def step(state, x):
        norm = nnx.merge(graphdef, state, copy=True)
        y = norm(x)
        return y, nnx.state(norm)

    x = jax.device_put(uneven_batch(), spread)
    y, state = jax.jit(step)(jax.device_put(state, everywhere), x)
    nnx.update(named, state)

    assert_same(y, whole(jnp.asarray(uneven_batch())))
    assert_same(named.mean[...], whole.mean[...], "statistic")
    assert_same(named.var[...], whole.var[...], "statistic")


def test_axis_name_counts_one_value_on_each_device(x64):
    """Four devices with one value each make a batch of four, which has a variance."""
    norm = fb.BatchNorm(
        2, axis_name="data", momentum=0.0, param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    )
    x = image((4, 1, 1, 1, 2))
    graphdef, state = nnx.split(norm)

    def step(x):
        norm = nnx.merge(graphdef, state, copy=True)
        norm(x)
        return norm.var[...]

    stored = jax.vmap(step, axis_name="data")(jnp.asarray(x))
    assert_same(stored[0], x.reshape(4, 2).var(0, ddof=1), "statistic")


def test_tracing_asks_no_traced_array_for_its_sharding(monkeypatch: pytest.MonkeyPatch):
    """JAX's answer, that it has none, searches the whole program that was traced so far."""
    asked = []

    def sharding(self: Tracer) -> object:
        asked.append(self)
        raise AttributeError("sharding")

    monkeypatch.setattr(Tracer, "sharding", property(sharding))
    norm = nnx.eval_shape(lambda: fb.BatchNorm(4, rngs=nnx.Rngs(0)))
    nnx.eval_shape(lambda norm, x: norm(x), norm, jnp.ones((2, 3, 3, 4)))
    assert asked == []
