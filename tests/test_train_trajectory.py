"""Whole networks in training stay where torchvision's are, step by step, in float64."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
import torchvision

import flaxblocks as fb
from flaxblocks.train import create_state, make_train_step
from parity import measure
from parity.trajectory import OPTIMIZERS, Optimizer
from tests.networks import flax_network, nchw, torch_network

STEPS, SHAPE = 30, (4, 33, 33, 3)
LOSS = 1e-8  # relative: thirty steps, each of which carries the last one's rounding on
WEIGHT = 1e-7  # of the largest in its array: a mean of few gradients may be much smaller than they
GENTLE = Optimizer(  # for the deeper network, whose path is chaotic under larger steps
    "AdamW",
    partial(torch.optim.AdamW, lr=1e-4, weight_decay=0.05),
    optax.adamw(1e-4, weight_decay=0.05),
)
PAIRS = [
    pytest.param(name, optimizer, id=f"{name}-{optimizer.name}")
    for name, optimizer in [*(("resnet18", each) for each in OPTIMIZERS), ("mobilenet_v2", GENTLE)]
]
Batches = list[tuple[np.ndarray, np.ndarray]]


@pytest.mark.slow
@pytest.mark.parametrize("name,optimizer", PAIRS)
def test_training_takes_torchvisions_path(name: str, optimizer: Optimizer, x64):
    rng = np.random.default_rng(2)
    batches = [
        (rng.normal(size=SHAPE), rng.integers(0, 1000, SHAPE[0]).astype(np.int32))
        for _ in range(STEPS)
    ]
    twin = torch_network(name, batches[0][0])
    state = create_state(flax_network(name, twin.state_dict()), optimizer.optax)
    step = make_train_step(optimizer.optax, label_smoothing=0.1)

    truth = train_torch(twin, optimizer, batches)
    losses = []
    for image, label in batches:
        state, metrics = step(state, {"image": jnp.asarray(image), "label": jnp.asarray(label)})
        losses.append(float(metrics["loss"]))

    loss_error = np.max(np.abs(np.array(losses) / truth - 1))
    ours = fb.state_dict(state.model(), names="torchvision")
    theirs = {key: value.numpy() for key, value in twin.state_dict().items()}
    assert ours.keys() == theirs.keys()
    errors = {key: measure.scaled_error(ours[key], value) for key, value in theirs.items()}
    worst = max(errors, key=lambda key: errors[key])
    print(f"{name} {optimizer.name}: loss {truth[0]:.3f} to {truth[-1]:.3f}", end=", ")
    print(f"relative error {loss_error:.1e}, {worst} {errors[worst]:.1e}")
    assert np.ptp(truth) > 0.1 and np.isfinite(truth).all()
    assert loss_error <= LOSS
    assert errors[worst] <= WEIGHT, worst


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
        loss = torch.nn.functional.cross_entropy(network(nchw(image)), target, label_smoothing=0.1)
        loss.backward()
        stepper.step()
        losses.append(loss.item())
    return np.array(losses)
