"""Weights that are folded by NumPy, and by a program where NumPy cannot."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

import flaxblocks as fb
from flaxblocks.inference.by_numpy import by_numpy, namespace


@by_numpy
def normalized(weights: jax.Array) -> jax.Array:
    return weights / namespace(weights).sqrt((weights**2).sum())


def test_one_device_needs_no_program(caplog):
    weights = jnp.arange(8.0)
    with jax.log_compiles():
        (result,) = normalized([weights])
    assert "Compiling" not in caplog.text
    assert isinstance(result, jax.Array)
    assert result.devices() == weights.devices()
    np.testing.assert_allclose(result, np.arange(8) / np.sqrt(140), rtol=1e-6)


def test_what_stays_as_it_is_is_a_copy():
    weights = jnp.arange(1024.0)
    (same,) = by_numpy(lambda w: w)([weights])
    assert same.unsafe_buffer_pointer() != weights.unsafe_buffer_pointer()


def test_what_is_traced_or_on_several_devices_goes_through_one(caplog):
    weights = jnp.arange(8.0)
    sharding = NamedSharding(jax.make_mesh((4,), ("x",)), PartitionSpec("x"))
    (expected,) = normalized([weights])
    (traced,) = jax.jit(lambda w: normalized([w]))(weights)
    with jax.log_compiles():
        (shared,) = normalized([jax.device_put(weights, sharding)])
    assert "Compiling" in caplog.text
    assert len(shared.devices()) == 4
    np.testing.assert_allclose(traced, expected, rtol=1e-6)
    np.testing.assert_allclose(shared, expected, rtol=1e-6)


def test_folding_a_network_compiles_nothing(caplog):
    model = fb.create_model("resnet18", num_classes=7, rngs=nnx.Rngs(0))
    jax.clear_caches()
    with jax.log_compiles():
        fb.for_inference(model)
    assert "Compiling" not in caplog.text
