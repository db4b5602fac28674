"""Times a train step beside one in plain JAX; prints the microseconds of each as JSON."""

import json
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import flaxblocks as fb
from flaxblocks.train import create_state, make_train_step

ROUNDS, STEPS = 1000, 10
LEARNING_RATE = 0.01


class Perceptron(nnx.Module):
    """Many small layers: all of a step's time is the cost of calling it."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.layers = nnx.List(fb.Linear(8, 8, rngs=rngs) for _ in range(20))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.mean((1, 2))
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x


def by_hand(params: dict):
    """Return a step in plain JAX, on the same parameters: no state, no module, no optax."""

    def loss_of(params: list, image: jax.Array, label: jax.Array):
        x = image.mean((1, 2))
        for kernel, bias in params:
            x = jax.nn.relu(x @ kernel + bias)
        own = jnp.take_along_axis(x, label[:, None], -1)[:, 0]
        loss = (jax.nn.logsumexp(x, -1) - own).mean()
        return loss, (x.argmax(-1) == label).mean()

    def step(params: list, image: jax.Array, label: jax.Array):
        (loss, accuracy), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            params, image, label
        )
        norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradients)))
        params = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradients)
        return params, {"loss": loss, "accuracy": accuracy, "gradient_norm": norm}

    layers = [(layer["kernel"], layer["bias"]) for layer in params["layers"].values()]
    return jax.jit(step, donate_argnums=0), jax.tree.map(jnp.copy, layers)


def measure() -> dict[str, float]:
    """Return the medians over many rounds, in which the two take turns, in microseconds a step."""
    optimizer = optax.sgd(LEARNING_RATE)
    model = nnx.jit(lambda: Perceptron(rngs=nnx.Rngs(0)))()
    state, step = create_state(model, optimizer), make_train_step(optimizer)
    plain, params = by_hand(state.params)
    data = {"image": jnp.ones((4, 2, 2, 8)), "label": jnp.zeros(4, jnp.int32)}
    times = []
    metrics, numbers = {}, {}
    for _ in range(ROUNDS):
        start = perf_counter()
        for _ in range(STEPS):
            state, metrics = step(state, data)
        jax.block_until_ready(metrics)
        middle = perf_counter()
        for _ in range(STEPS):
            params, numbers = plain(params, data["image"], data["label"])
        jax.block_until_ready(numbers)
        times.append((middle - start, perf_counter() - middle))
    np.testing.assert_allclose(metrics["loss"], numbers["loss"], rtol=1e-4)
    ours, hand = np.array(times).T * 1e6 / STEPS
    return {
        "step": float(np.median(ours)),
        "by_hand": float(np.median(hand)),
        "ratio": float(np.median(ours / hand)),
    }


if __name__ == "__main__":
    print(json.dumps({"jax": jax.__version__, **measure()}))
