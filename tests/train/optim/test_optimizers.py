"""The recipes' optimizers and schedules are those of their sources."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from timm.optim.lamb import Lamb
from timm.optim.rmsprop_tf import RMSpropTF

import flaxblocks as fb
from flaxblocks.train import (
    RECIPES,
    Cosine,
    Decay,
    Mixing,
    Recipe,
    RisingAverage,
    SparseAverage,
)
from flaxblocks.train.optim.optimizers import (
    Algorithm,
    adamw,
    all_but_norms,
    everything,
    kernels_only,
    lamb,
    rmsprop,
    sgd,
    torch_rmsprop,
)
from tests.helpers.twins import assert_same

STEPS, PEAK, DECAY = 12, 0.05, 0.01


def spared(params: dict) -> dict:
    """Let nothing decay: a `Mask`."""
    return jax.tree.map(lambda _: False, params)


RATES = Cosine(warmup=1)(PEAK, STEPS, 4)
TWINS = [
    (sgd, lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=DECAY)),
    (
        partial(sgd, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=DECAY, nesterov=True),
    ),
    (
        rmsprop,
        lambda p: RMSpropTF(p, lr=1, alpha=0.9, momentum=0.9, eps=1e-3, weight_decay=DECAY),
    ),
    (
        torch_rmsprop,
        lambda p: torch.optim.RMSprop(
            p, lr=1, alpha=0.9, momentum=0.9, eps=0.0316, weight_decay=DECAY
        ),
    ),
    (adamw, lambda p: torch.optim.AdamW(p, lr=1, weight_decay=DECAY)),
    (lamb, lambda p: Lamb(p, lr=1, weight_decay=DECAY)),
    (
        lambda rates, decay, mask: lamb(rates, decay, spared),
        lambda p: Lamb(p, lr=1, weight_decay=0),
    ),
]
IDS = ["sgd", "nesterov", "rmsproptf", "rmsprop", "adamw", "lamb", "lamb where nothing decays"]


def at(rate: optax.Schedule, step: int) -> float:
    return float(np.asarray(rate(step)))


@pytest.mark.parametrize("algorithm,make_torch", TWINS, ids=IDS)
def test_algorithms_equal_theirs_under_a_moving_learning_rate(
    algorithm: Algorithm, make_torch: Callable, x64
):
    rng = np.random.default_rng(0)
    start, pulls = rng.normal(size=(3, 4)), rng.normal(size=(STEPS, 3, 4))
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = make_torch([theirs])
    transformation = algorithm(RATES, DECAY, everything)
    ours: Any = {"kernel": jnp.asarray(start)}
    state, update = transformation.init(ours), jax.jit(transformation.update)
    for number, pull in enumerate(pulls):
        theirs.grad = torch.from_numpy(pull)
        optimizer.param_groups[0]["lr"] = at(RATES, number)
        optimizer.step()
        updates, state = update({"kernel": jnp.asarray(pull)}, state, ours)
        ours = optax.apply_updates(ours, updates)
        assert_same(ours["kernel"], theirs.detach().numpy())


def masked(mask: Callable, name: str) -> set[str]:
    """Return the kinds of parameters that decay, and with a dash those that do not."""
    model = nnx.eval_shape(lambda: fb.create_model(name, rngs=nnx.Rngs(0)))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    leaves, _ = jax.tree_util.tree_flatten_with_path(mask(params))
    return {f"{'' if decays else '-'}{path[-2].key}.{path[-1].key}" for path, decays in leaves}


def test_masks_spare_what_their_sources_spare():
    assert not any(kind.startswith("-") for kind in masked(everything, "resnet18"))
    efficientnet = masked(all_but_norms, "efficientnet_b0")
    assert {kind for kind in efficientnet if kind[0] == "-"} == {"-norm.scale", "-norm.bias"}
    assert {"reduce.bias", "classifier.bias", "conv.kernel"} <= efficientnet
    convnext = masked(kernels_only, "convnext_tiny")
    assert {kind for kind in convnext if kind[0] != "-"} == {
        "depthwise.kernel", "expand.kernel", "project.kernel", "conv.kernel", "classifier.kernel"
    }  # fmt: skip


@torch.enable_grad()
def rates_of(make: Callable, epochs: int, peak: float) -> list[float]:
    """Return the learning rate of each epoch under one of PyTorch's schedulers."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler, rates = make(optimizer), []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_schedules_equal_pytorchs_where_an_epoch_has_one_step(x64):
    by_step = rates_of(lambda o: torch.optim.lr_scheduler.StepLR(o, 30, 0.1), 90, 0.1)
    ours = Decay(0.1, every=30)(0.1, 90, 90)
    np.testing.assert_allclose([at(ours, step) for step in range(90)], by_step, rtol=1e-12)
    annealed = rates_of(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 25, eta_min=0.05), 25, 0.5
    )
    ours = Cosine(warmup=5, floor=0.1)(0.5, 30, 30)
    np.testing.assert_allclose([at(ours, step) for step in range(5, 30)], annealed, rtol=1e-12)
    np.testing.assert_allclose([at(ours, step) for step in range(5)], np.arange(5) / 10)


def test_decay_counts_its_epochs_from_the_start_of_the_warm_up():
    rate = RECIPES["efficientnet-rmsprop"].learning_rates(3500, 256)  # ten steps an epoch
    assert at(rate, 25) == pytest.approx(0.008)
    assert at(rate, 50) == pytest.approx(0.016 * 0.97**2)  # 2.4 and 4.8 epochs are over
    assert at(rate, 3499) == pytest.approx(0.016 * 0.97**145, rel=1e-4)


def test_clipping_comes_before_all_else():
    recipe = Recipe(partial(sgd, momentum=0.0), 256.0, Decay(1.0, every=1), 1, clip_norm=1.0)
    optimizer = recipe.optimizer(total_steps=1, batch_size=1)
    gradient: Any = {"kernel": jnp.asarray([[3.0, 4.0]])}
    updates: Any = optimizer.update(gradient, optimizer.init(gradient), gradient)[0]
    np.testing.assert_allclose(updates["kernel"], [[-0.6, -0.8]], rtol=1e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_make_an_optimizer_that_a_batch_of_any_size_can_use(name: str):
    recipe = RECIPES[name]
    rates = [recipe.learning_rates(1000, size) for size in (256, 512)]
    peaks = [max(at(rate, step) for step in range(0, 1000, 50)) for rate in rates]
    assert peaks[1] == pytest.approx(2 * peaks[0])
    params = {"kernel": jnp.ones((2, 2))}
    assert recipe.optimizer(10, 256).init(params) is not None


REFUSED = [
    (lambda: Recipe(sgd, -1.0, Cosine(), 1), "`learning_rate` must be a number of at least 0"),
    (lambda: Recipe(sgd, 1.0, Cosine(), 0), "`epochs` must be a positive integer"),
    (lambda: Recipe(sgd, 1.0, Cosine(), 1, layer_decay=2), "`layer_decay` must lie"),
    (lambda: RisingAverage(2.0), "`decay` must lie"),
    (lambda: SparseAverage(every=0), "`every` must be"),
    (lambda: Cosine(start=2.0), "`start` must lie"),
    (lambda: Recipe(sgd, 1.0, Cosine(), 1, clip_norm=-1), "`clip_norm` must be"),
    (lambda: Recipe(sgd, 1.0, Cosine(), 1).optimizer(0, 1), "`total_steps` must be"),
    (lambda: Recipe(sgd, 1.0, Cosine(), 1).optimizer(1, 0), "`batch_size` must be"),
    (lambda: Decay(0.1, every=0), "`every` must be above 0"),
    (lambda: Decay(2.0, every=1), "`factor` must lie between 0 and 1"),
    (lambda: Cosine(floor=-1), "`floor` must lie between 0 and 1"),
    (lambda: Mixing(0.0, 0.0), "must be above 0"),
]


@pytest.mark.parametrize("make,message", REFUSED)
def test_refuses_numbers_out_of_range(make: Callable, message: str):
    with pytest.raises(ValueError, match=message):
        make()
