"""Published recipes are their sources' over the whole run: rates, decay, averages, images."""

from collections import Counter
from collections.abc import Callable
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from timm.data.distributed_sampler import RepeatAugSampler
from timm.data.transforms_factory import create_transform
from timm.optim._param_groups import param_groups_weight_decay
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR, StepLR
from torch.optim.swa_utils import AveragedModel
from torchvision.ops._utils import split_normalization_params

import flaxblocks as fb
from flaxblocks.cli import main
from flaxblocks.train import RECIPES, SparseAverage
from flaxblocks.train.data import ImageFolder, Records, UnreadableImages, training_batches
from flaxblocks.train.data.augment import Augment
from flaxblocks.train.data.timm_randaugment import TimmRandAugment
from flaxblocks.train.run.pipelines import Pipelines
from flaxblocks.train.run.recipe_settings import RECIPE_SETTINGS
from flaxblocks.train.run.recipes import recipe_of
from flaxblocks.train.run.settings import Settings
from flaxblocks.train.step.average import update_average
from tests.helpers.tiny_training import PREPROCESS, make_images, register_tiny
from torch_ref.harness.vendors import make_network

PER_EPOCH = 3
Scheduler = Callable[[torch.optim.Optimizer, int], object]


def warm_cosine(start: float) -> Scheduler:
    """Return what torchvision's reference makes of five epochs of linear warm-up."""

    def make(optimizer: torch.optim.Optimizer, epochs: int) -> object:
        parts = [
            LinearLR(optimizer, start, total_iters=5),
            CosineAnnealingLR(optimizer, epochs - 5),
        ]
        return SequentialLR(optimizer, parts, milestones=[5])

    return make


def timm_cosine(optimizer: torch.optim.Optimizer, epochs: int) -> object:
    return CosineLRScheduler(optimizer, epochs, lr_min=1e-6, warmup_t=5, warmup_lr_init=1e-4)


RATES: dict[str, tuple[float, Scheduler]] = {
    "resnet50-torchvision": (0.1, lambda optimizer, epochs: StepLR(optimizer, 30, 0.1)),
    "torchvision-v2": (0.5, warm_cosine(0.01)),
    "mobilenet-v3": (0.064, lambda optimizer, epochs: StepLR(optimizer, 2, 0.973)),
    "regnet": (0.8, warm_cosine(0.1)),
    "resnet-a1": (5e-3, timm_cosine),
    "resnet-a2": (5e-3, timm_cosine),
    "resnet-a3": (8e-3, timm_cosine),
}
"""The learning rate that the source gives for its batch, and its scheduler."""


@pytest.mark.parametrize("name", RATES)
@torch.enable_grad()
def test_the_learning_rate_is_the_sources_at_every_step(name: str, x64):
    settings, recipe = Settings.of(recipe=name), RECIPES[name]
    peak, make = RATES[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler, expected = make(optimizer, recipe.epochs), []
    for epoch in range(recipe.epochs):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*((epoch + 1,) if "timm" in type(scheduler).__module__ else ()))  # pyright: ignore[reportAttributeAccessIssue]
    steps = PER_EPOCH * recipe.epochs
    rates = recipe.learning_rates(steps, settings.batch_size)
    got = jax.vmap(rates)(jnp.arange(steps))
    np.testing.assert_allclose(got, np.repeat(expected, PER_EPOCH), rtol=1e-9, atol=1e-15)


def test_efficientnet_v2_rises_and_falls_as_its_code_says(x64):
    recipe = RECIPES["efficientnet-v2"]
    steps = np.arange(10 * recipe.epochs)  # ten an epoch
    expected = 0.256 * np.where(steps < 50, steps / 50, 0.97 ** (steps // 24))
    got = jax.vmap(recipe.learning_rates(len(steps), 4096))(jnp.asarray(steps))
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def decaying(name: str, recipe: str, names: str) -> set[str]:
    """Return which parameters decay, by PyTorch's names."""
    model = nnx.eval_shape(
        lambda: fb.create_model(name, drop_rate=0, drop_path_rate=0, rngs=nnx.Rngs(0))
    )
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    mask = RECIPES[recipe].decays(params)
    filled = jax.tree.map(lambda on, p: np.full(p.shape, float(on)), mask, params)
    statistics = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
    for values in (filled, jax.tree.map(lambda leaf: np.zeros(leaf.shape), statistics)):
        nnx.update(model, values)
    found = fb.state_dict(model, names=names)  # pyright: ignore[reportArgumentType]
    return {key for key, value in found.items() if value.all()}


def named(network: torch.nn.Module, chosen: list) -> set[str]:
    ids = {id(parameter) for parameter in chosen}
    return {name for name, parameter in network.named_parameters() if id(parameter) in ids}


@pytest.mark.parametrize("recipe", ["resnet-a1", "resnet-a2", "resnet-a3"])
def test_what_decays_is_timms(recipe: str):
    theirs = make_network("timm", "resnet18")
    groups = param_groups_weight_decay(theirs, weight_decay=0.1)
    expected = named(theirs, [p for g in groups if g["weight_decay"] for p in g["params"]])
    assert decaying("timm/resnet18", recipe, "timm") == expected


@pytest.mark.parametrize(
    ("recipe", "network"), [("torchvision-v2", "resnet18"), ("mobilenet-v3", "mobilenet_v3_small")]
)
def test_what_decays_is_torchvisions(recipe: str, network: str):
    theirs = make_network("torchvision", network)
    norms, others = split_normalization_params(theirs)
    chosen = others if recipe == "torchvision-v2" else [*norms, *others]
    assert decaying(network, recipe, "torchvision") == named(theirs, chosen)


def test_the_average_is_torchvisions(x64):
    """What its training loop does: each 32nd step of an epoch, a copy until the warm-up ends."""
    epochs, per_epoch, batch = 4, 70, 1024
    alpha = min(1.0, (1 - 0.99998) * batch * 32 / epochs)
    network = torch.nn.Linear(3, 2, bias=False).double()
    theirs = AveragedModel(network, avg_fn=lambda old, new, n: old * (1 - alpha) + new * alpha)
    weight = SparseAverage(0.99998, 32, warmup=2)(epochs * per_epoch, epochs, batch)
    draws = np.random.default_rng(0).normal(size=(epochs * per_epoch, 2, 3))
    ours = jnp.zeros((2, 3))
    update = jax.jit(lambda old, new, step: update_average(old, new, jnp.asarray(weight(step))))
    for step, new in enumerate(draws):
        epoch, place = divmod(step, per_epoch)
        network.weight.data = torch.from_numpy(new)
        if place % 32 == 0:
            theirs.update_parameters(network)
            if epoch < 2:
                theirs.n_averaged.fill_(0)
        ours = update(ours, jnp.asarray(new), jnp.asarray(step))
        expected = theirs.get_parameter("module.weight").detach().numpy()
        if step:
            np.testing.assert_allclose(ours, expected, rtol=1e-12)


AUGMENTED = {"resnet-a1": 224, "resnet-a2": 224, "resnet-a3": 160, "convnext-adamw": 224}


@pytest.mark.parametrize("name", AUGMENTED)
def test_images_change_as_timms_do(name: str):
    settings = Settings.of(recipe=name)
    augment = RECIPES[name].augment(224, 3, 0)
    make: Any = create_transform
    theirs = make(
        AUGMENTED[name],
        is_training=True,
        auto_augment=settings.aa,
        interpolation=settings.train_interpolation,
        re_prob=settings.reprob,
        color_jitter=None,
    ).transforms
    crop, flip = theirs[0], theirs[1]
    assert (augment.size, augment.size) == crop.size
    assert (augment.crop.area, augment.crop.aspect) == (crop.scale, crop.ratio)  # pyright: ignore[reportFunctionMemberAccess]
    assert augment.operations[0].probability == flip.p  # pyright: ignore[reportFunctionMemberAccess]
    assert isinstance(augment.operations[1], TimmRandAugment)
    erasing = [t for t in theirs if type(t).__name__ == "RandomErasing"]
    assert [t.probability for t in erasing] == [o.probability for o in augment.operations[2:]]  # pyright: ignore[reportFunctionMemberAccess]


def test_efficientnet_v2s_images_grow_as_its_code_says():
    recipe = RECIPES["efficientnet-v2"]
    found = [recipe.augment(384, 3, epoch) for epoch in range(recipe.epochs)]
    starts = [int(stage / 4 * 350) for stage in range(4)]
    sizes = [int(128 + (300 - 128) * (stage + 1) / 4) for stage in range(4)]
    expected = [sizes[sum(epoch >= start for start in starts) - 1] for epoch in range(350)]
    # A stage of 87.5 epochs ends where its half is over; the code rounds it down.
    assert sum(a.size != size for a, size in zip(found, expected, strict=True)) <= 2
    magnitudes = [m for m, _ in groupby(a.operations[1].magnitude for a in found)]  # pyright: ignore[reportFunctionMemberAccess]
    np.testing.assert_allclose(magnitudes, np.linspace(5, 10, 4))


def test_repeats_are_those_of_timms_sampler():
    length, batch = 1024, 32
    rows = [{"image": np.full((2, 2), n % 256, np.uint8), "label": n} for n in range(length)]
    batches = training_batches(
        Records(rows, length),
        Augment(2),
        batch_size=batch,
        unreadable=UnreadableImages(length),
        repeats=4,
        workers=1,
    )
    iterator = iter(batches)
    epochs = [
        [int(x) for _ in range(length // batch) for x in next(iterator)["label"]] for _ in "ab"
    ]
    theirs = Counter(RepeatAugSampler(rows, num_replicas=1, rank=0, num_repeats=4))
    for labels in epochs:
        assert sorted(Counter(labels).values()) == sorted(theirs.values())
        assert all(one != other for one, other in pairwise(labels))
        assert all(len(set(labels[i : i + batch])) == batch // 4 for i in range(0, length, batch))
    assert set(epochs[0]) != set(epochs[1])


def test_training_images_grow_and_others_do_not(tmp_path: Path):
    images = ImageFolder(make_images(tmp_path, per_class=3))
    options: dict[str, Any] = {"epochs": 4, "batch_size": 4, "grow_stages": 2, "grow_from": 4}
    recipe = recipe_of(Settings.of(recipe="quick", train_crop_size=12, **options))
    data = Pipelines(images, images, recipe, PREPROCESS, 4, workers=1)
    iterator = iter(data.training())
    sizes = [next(iterator)["image"].shape[1] for _ in range(data.per_epoch * 4)]
    assert sizes == [8] * 4 + [12] * 4
    assert next(iter(data.training(last=True)))["image"].shape == (4, 12, 12, 3)
    assert next(iter(data.evaluation(images)))["image"].shape == (4, 16, 16, 3)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPE_SETTINGS)
def test_each_recipe_trains(recipe: str, tmp_path: Path):
    register_tiny()
    make_images(tmp_path / "images")
    options = ["--epochs", "2", "--batch-size", "4", "--input-size", "16", "--drop-path", "0"]
    small = ["--grow-from", "8", "--train-crop-size", "16"]
    place = ["--data", str(tmp_path / "images"), "--out", str(tmp_path / "out")]
    assert main(["train", "--model", "tiny", "--recipe", recipe, *place, *options, *small]) == 0
    assert fb.load_run(tmp_path / "out").card.recipe["recipe"] == recipe
