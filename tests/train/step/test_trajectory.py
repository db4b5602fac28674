"""Whole networks in training stay where torchvision's are, step by step, in float64."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
import torchvision

import flaxblocks as fb
from flaxblocks.train import CrossEntropy, create_state, make_train_step
from parity.checks import measure
from parity.sides.training import Optimizer
from tests.helpers.networks import flax_network
from torch_ref.harness.layout import from_nhwc

STEPS, SHAPE, CLASSES = 30, (8, 65, 65, 3), 10
LOSS = 1e-8  # relative: thirty steps, each of which carries the last one's rounding on
WEIGHT = 1e-7  # of the scale of its layer
NAMES = ("resnet18", "mobilenet_v2", "efficientnet_b0")
# From torchvision's own initialization, at rates at which a path is not chaotic: PyTorch, started a
# relative 1e-14 beside itself, is after these steps at most 2e-10 from its own loss and 2e-9 from
# its own arrays, MobileNetV2 under SGD being the worst. At four times that rate its loss is a
# fiftieth apart.
OPTIMIZERS = (
    Optimizer(
        "SGD",
        partial(torch.optim.SGD, lr=5e-4, momentum=0.9, weight_decay=1e-4),
        optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(5e-4, momentum=0.9)),
    ),
    Optimizer(
        "AdamW",
        partial(torch.optim.AdamW, lr=3e-4, weight_decay=0.05),
        optax.adamw(3e-4, weight_decay=0.05),
    ),
    Optimizer(
        "RMSprop",
        partial(torch.optim.RMSprop, lr=3e-5, alpha=0.9, eps=1e-3, momentum=0.9),
        optax.rmsprop(3e-5, decay=0.9, eps=1e-3, eps_in_sqrt=False, momentum=0.9),
    ),
)
Arrays = dict[str, np.ndarray]
Batches = list[tuple[np.ndarray, np.ndarray]]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.name)
@pytest.mark.parametrize("name", NAMES)
def test_training_takes_torchvisions_path(name: str, optimizer: Optimizer, x64):
    rng = np.random.default_rng(2)
    batches = [
        (rng.normal(size=SHAPE), rng.integers(0, CLASSES, SHAPE[0]).astype(np.int32))
        for _ in range(STEPS)
    ]
    torch.manual_seed(0)
    twin = torchvision.models.get_model(name).double()
    state = create_state(flax_network(name, twin.state_dict()), optimizer.optax)
    step = make_train_step(optimizer.optax, loss=CrossEntropy(0.1))

    truth = train_torch(twin, optimizer, batches)
    losses = []
    for image, label in batches:
        state, metrics = step(state, {"image": jnp.asarray(image), "label": jnp.asarray(label)})
        losses.append(float(metrics["loss"]))

    loss_error = np.max(np.abs(np.array(losses) / truth - 1))
    ours = fb.state_dict(state.model(), names="torchvision")
    theirs = {key: value.numpy() for key, value in twin.state_dict().items()}
    assert ours.keys() == theirs.keys()
    errors = {
        key: measure.scaled_error(ours[key], value, scale(key, theirs))
        for key, value in theirs.items()
    }
    worst = max(errors, key=lambda key: errors[key])
    print(f"{name} {optimizer.name}: loss {truth[0]:.3f} to {truth[-1]:.3f}", end=", ")
    print(f"relative error {loss_error:.1e}, {worst} {errors[worst]:.1e}")
    assert np.ptp(truth) > 0.5 and np.isfinite(truth).all()
    assert loss_error <= LOSS
    assert errors[worst] <= WEIGHT, worst


def scale(key: str, arrays: Arrays) -> float:
    """Return what an array's error is measured by.

    A shift that the next norm takes away has no gradient, and a mean of what was just centered is
    0, but for rounding: a bias is measured by its weight too, and a mean by its deviation.
    """
    layer, _, leaf = key.rpartition(".")
    beside = {"bias": "weight", "running_mean": "running_var"}.get(leaf)
    if beside is None:
        return measure.scale_of(arrays[key])
    other = arrays[f"{layer}.{beside}"]
    return measure.scale_of(arrays[key], np.sqrt(other) if beside == "running_var" else other)


@torch.enable_grad()
def train_torch(network: torch.nn.Module, optimizer: Optimizer, batches: Batches) -> np.ndarray:
    """Train PyTorch's network in place; return its losses."""
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout | torchvision.ops.StochasticDepth):
            module.p = 0.0
    stepper, losses = optimizer.make_torch(network.parameters()), []
    for image, label in batches:
        stepper.zero_grad()
        target = torch.from_numpy(label).long()
        loss = torch.nn.functional.cross_entropy(
            network(from_nhwc(image)), target, label_smoothing=0.1
        )
        loss.backward()
        stepper.step()
        losses.append(loss.item())
    return np.array(losses)
