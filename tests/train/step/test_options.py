"""Every option of the train step works with every loss."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.train import (
    BinaryCrossEntropy,
    CrossEntropy,
    Distillation,
    Mixing,
    create_state,
    make_mesh,
    make_train_step,
    place_state,
    shard_batch,
    shard_largest,
)
from parity.checks import measure
from tests.helpers.train_nets import batch

EXACT = 1e-10  # of each array's scale: float64 rounds at 1e-16, and sums are short
OPTIMIZER = optax.sgd(0.1, momentum=0.9)


class Net(nnx.Module):
    """A network without batch statistics, of which each part is the mean of the whole.

    Args:
        again: whether the gradient computes the convolution a second time.
        rngs: random streams.
    """

    def __init__(self, *, again: bool = False, rngs: nnx.Rngs):
        make = {"param_dtype": jnp.float64, "rngs": rngs}
        self.stem = fb.ConvNormAct(3, 128, 1, norm=fb.LayerNorm, **make)
        self.classifier = fb.Linear(128, 10, **make)
        self.again = again

    def __call__(self, image: jax.Array) -> jax.Array:
        return self.both(image, jnp.zeros(len(image)))[0]

    def both(self, image: jax.Array, shift: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Take two inputs and return two outputs."""

        def run(stem: nnx.Module, image: jax.Array) -> jax.Array:
            return stem(image)

        run = nnx.remat(run) if self.again else run
        pooled = run(self.stem, image).mean((1, 2)) + shift[:, None]
        return self.classifier(pooled), pooled.mean(-1)


def own(model: Any, rows: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Add cross-entropy to a term of the user's own, over several inputs and outputs."""
    logits, size = model.both(rows["image"], rows["shift"])
    loss, metrics = CrossEntropy(smoothing=0.1)(lambda image: logits, rows)
    return loss + ((size - rows["shift"]) ** 2).mean(), {"size": size.mean(), **metrics}


def distillation() -> Distillation:
    """Return distillation from the teacher, with timm's binary cross-entropy of the labels."""
    label_loss = BinaryCrossEntropy(target_threshold=0.2)
    return Distillation(Net(rngs=nnx.Rngs(1)), weight=0.7, label_loss=label_loss)


LOSSES = {"distillation": distillation, "the user's own": lambda: own}


def rows(seed: int) -> dict[str, np.ndarray]:
    data = batch(8, seed)
    return data | {"shift": np.linspace(0, 1, 8)}


def train(loss: Any, devices: int, again: bool, accumulate: int) -> tuple[Any, dict[str, float]]:
    """Train the same rows for two steps, with Mixup or CutMix, an average and a frozen bias."""
    mesh = make_mesh(jax.devices()[:devices])
    state = create_state(
        Net(again=again, rngs=nnx.Rngs(0)),
        OPTIMIZER,
        trainable=nnx.Not(lambda path, value: path == ("stem", "conv", "bias")),
        average=True,
    )
    state = place_state(mesh, state, shard_largest)
    step = make_train_step(
        OPTIMIZER, loss=loss, mixing=Mixing(0.8, 1.0), accumulate=accumulate, average_decay=0.15
    )
    metrics = {}
    for seed in range(2):
        state, metrics = step(state, shard_batch(mesh, rows(seed)))
    return state, {name: float(value) for name, value in metrics.items()}


@pytest.mark.parametrize(
    "name", [pytest.param("distillation", marks=pytest.mark.slow), "the user's own"]
)
def test_options_change_nothing_but_the_cost_of_any_loss(name: str, x64):
    """In parts, on four devices, its maps computed again: the same as at once on one device."""
    loss = LOSSES[name]()
    whole, truth = train(loss, 1, again=False, accumulate=1)
    state, metrics = train(loss, 4, again=True, accumulate=2)
    assert metrics == pytest.approx(truth, rel=EXACT)
    assert metrics.keys() - {"size"} == {"loss", "gradient_norm", "accuracy"}
    for kind in ("params", "frozen", "average"):
        ours, theirs = (jax.tree.leaves(getattr(s, kind)) for s in (state, whole))
        assert len(ours) == len(theirs) > 0
        for a, b in zip(ours, theirs, strict=True):
            assert measure.scaled_error(np.asarray(a), np.asarray(b)) <= EXACT
    kernel = state.params["classifier"]["kernel"]
    assert len(kernel.sharding.device_set) == 4 and not kernel.is_fully_replicated
