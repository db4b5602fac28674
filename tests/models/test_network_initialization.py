"""Fresh networks are drawn from the distributions that torchvision draws from."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision
from flax import nnx

import flaxblocks as fb
from flaxblocks.layers.initializers import BLOCK, Normal, Uniform, kaiming_normal
from tests.helpers.networks import SMALLEST
from tests.helpers.tolerance import bound


@pytest.mark.parametrize("name", SMALLEST.values(), ids=SMALLEST)
def test_each_tensor_has_torchvisions_mean_and_deviation(name: str):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)().state_dict()
    network = fb.create_model(name, rngs=nnx.Rngs(0))
    ours = fb.state_dict(network, names="torchvision")

    for key, value in theirs.items():
        _assert_same_distribution(key, ours[key].astype(np.float64), value.double().numpy())


def _assert_same_distribution(key: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Fail where two samples differ in mean or deviation by more than their size explains."""
    spread = theirs.std()
    if spread == 0:
        np.testing.assert_array_equal(ours, theirs, err_msg=key)
        return
    limit = bound("any", "statistic of a sample")
    standard_error = spread * np.sqrt(2 / ours.size)
    assert abs(ours.mean() - theirs.mean()) <= limit * standard_error, key
    # A deviation's own error is at most its normal one, spread / sqrt(2 n) for each sample.
    assert abs(ours.std() - spread) <= limit * standard_error / np.sqrt(2), key
    # The shape of the distribution: a uniform one ends at 1.7 deviations.
    if ours.size >= 1000:
        ends = [np.abs(sample - sample.mean()).max() / sample.std() for sample in (ours, theirs)]
        assert (ends[0] < 2) == (ends[1] < 2), key


@pytest.mark.parametrize(
    "draw,dtype",
    [
        (Normal(0.3), jnp.float32),
        (Uniform(0.3), jnp.bfloat16),
        (partial(kaiming_normal, groups=3), jnp.float16),
    ],
)
def test_a_traced_draw_gives_the_same_bits(draw, dtype: type):
    key, shape = jax.random.key(7), (1, 1, 2, BLOCK)
    eager = draw(key, shape, dtype)
    traced = jax.jit(lambda key: draw(key, shape, dtype))(key)
    assert eager.shape == shape and eager.dtype == traced.dtype == dtype
    np.testing.assert_array_equal(np.asarray(eager), np.asarray(traced))
    first, second = np.array_split(np.asarray(eager).reshape(2, -1), 2)
    assert not np.array_equal(first, second)


def test_creation_compiles_few_programs_however_many_shapes_there_are():
    compiled = []

    def listen(event: str, _: float, **__: object) -> None:
        compiled.append(event == "/jax/core/compile/backend_compile_duration")

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        network = fb.create_model("mobilenet_v3_small", rngs=nnx.Rngs(0))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    shapes = {leaf.shape for leaf in jax.tree.leaves(nnx.state(network))}
    assert len(shapes) >= 60
    assert 1 <= sum(compiled) <= 12
