"""A block of ours inside a model and a training loop written for Linen."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from flax.nnx import bridge

import flaxblocks as fb
from tests.helpers.twins import image

pytestmark = pytest.mark.usefixtures("quick")


def evaluate(block: nnx.Module, x: jax.Array) -> jax.Array:
    block.eval()
    return block(x)


class Classifier(linen.Module):
    """A Linen model with two blocks of ours in it."""

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        method = None if train else evaluate
        for block in (
            bridge.to_linen(fb.ConvNormAct, 3, 8, stride=2, name="stem"),
            bridge.to_linen(fb.MBConv, 8, 8, 2, drop_path=0.1, name="block"),
        ):
            x = block(x, nnx_method=method)
        return linen.Dense(2)(x.mean((1, 2)))


def two_classes() -> tuple[jax.Array, jax.Array]:
    """Return images whose class is told by which channel is brighter."""
    labels = np.arange(16) % 2
    x = image((16, 9, 9, 3))
    x[..., 0] += 2 * labels[:, None, None]
    return jnp.asarray(x, jnp.float32), jnp.asarray(labels)


def test_trains_in_a_linen_loop_with_its_statistics():
    model, optimizer = Classifier(), optax.sgd(0.1, momentum=0.9)
    x, labels = two_classes()
    variables = model.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, x, True)
    params, stats = variables["params"], variables["batch_stats"]
    state = optimizer.init(params)

    @jax.jit
    def step(params, stats, state, key):
        def loss_of(params):
            logits, updates = model.apply(
                {"params": params, "batch_stats": stats},
                x,
                True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, updates["batch_stats"]

        (loss, stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), stats, state, loss

    losses = []
    for key in jax.random.split(jax.random.key(2), 12):
        params, stats, state, loss = step(params, stats, state, key)
        losses.append(float(loss))

    assert losses[-1] < losses[0] / 2
    before: Any = variables["batch_stats"]
    after: Any = stats
    before, after = before["block"], after["block"]
    assert int(after["project"]["norm"]["num_batches_tracked"]) == 12
    assert not np.array_equal(
        before["depthwise"]["norm"]["mean"], after["depthwise"]["norm"]["mean"]
    )
    logits: Any = model.apply({"params": params, "batch_stats": stats}, x, False)
    assert (logits.argmax(-1) == labels).all()


def test_eval_mode_changes_nothing_and_needs_no_random_stream():
    model, (x, _) = Classifier(), two_classes()
    variables = model.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, x, True)
    first, updates = model.apply(variables, x, False, mutable=["batch_stats"])
    np.testing.assert_array_equal(first, model.apply(variables, x, False))
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], variables["batch_stats"])


def test_weights_move_between_linen_and_nnx():
    """The Linen variables are the NNX module's own, under the same names."""
    x = jnp.asarray(image((2, 5, 5, 8)), jnp.float32)
    linen_block = bridge.to_linen(fb.MBConv, 8, 8, 2)
    variables = linen_block.init(jax.random.key(0), x)
    block = fb.MBConv(8, 8, 2, rngs=nnx.Rngs(1))
    for path, variable in nnx.to_flat_state(nnx.state(block, (nnx.Param, nnx.BatchStat))):
        kind = "params" if isinstance(variable, nnx.Param) else "batch_stats"
        value = variables[kind]
        for name in path:
            value = value[name]
        variable.set_value(jnp.asarray(value))
    ours = block(x)
    theirs, _ = linen_block.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_array_equal(ours, theirs)
