"""Settings: recipe, file and options become one value, and that value a recipe."""

from dataclasses import fields

import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.cli.commands import make_parser
from flaxblocks.cli.train import settings_of
from flaxblocks.cli.training import make_model, module_paths, trainable
from flaxblocks.train import (
    BinaryCrossEntropy,
    Cosine,
    CrossEntropy,
    Decay,
    Mixing,
    RisingAverage,
    SparseAverage,
    recipe_of,
)
from flaxblocks.train.data import (
    ColorJitter,
    Flip,
    Growth,
    ImageFolder,
    RandAugment,
    RandomCrop,
    RandomErasing,
    TimmRandAugment,
    autoaugment,
    trivialaugment,
)
from flaxblocks.train.run.recipe_settings import RECIPE_SETTINGS
from flaxblocks.train.run.settings import Settings, read_config
from flaxblocks.weights.origin import Origin
from tests.helpers.tiny_training import PREPROCESS, make_images, register_tiny


def parsed(*options: str) -> Settings:
    return settings_of(make_parser().parse_args(["train", "--data", "d", "--out", "o", *options]))


def test_options_come_before_the_file_and_the_file_before_the_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('recipe = "quick"\nepochs = 7\nlr_base = 1\nfreeze = ["stem"]\n')
    settings = parsed(
        "--config", str(path), "--epochs", "3", "--no-save-best", "--amp", "--log", "jsonl,wandb"
    )
    assert settings.log == ("jsonl", "wandb")
    assert settings.recipe == "quick"
    assert (settings.epochs, settings.lr_base, settings.weight_decay) == (3, 1.0, 0.05)
    assert (settings.freeze, settings.save_best, settings.dtype) == (("stem",), False, "bfloat16")


@pytest.mark.parametrize("recipe", RECIPE_SETTINGS)
def test_settings_are_written_back_whole(recipe, tmp_path):
    settings = Settings.of(recipe=recipe, freeze=("a b", 'c"d'), lr=1e-5)
    (tmp_path / "config.toml").write_text(settings.toml())
    assert Settings.of(read_config(tmp_path / "config.toml")) == settings


def test_each_setting_has_an_option_with_its_help(capsys):
    with pytest.raises(SystemExit):
        make_parser().parse_args(["train", "--help"])
    told = capsys.readouterr().out
    for setting in fields(Settings):
        assert f"--{setting.name.replace('_', '-')}" in told
        assert setting.metadata["help"]


CHANGES = [
    ({"smoothing": 0.2}, "loss", CrossEntropy(0.2)),
    ({"bce": True, "smoothing": 0.3}, "loss", BinaryCrossEntropy(0.3)),
    ({"bce": True, "bce_target_thresh": 0.2}, "loss", BinaryCrossEntropy(0.0, 0.2)),
    ({"mixup": 0.1}, "mixing", Mixing(mixup_alpha=0.1)),
    ({"cutmix": 1}, "mixing", Mixing(cutmix_alpha=1.0)),
    ({"sched": "step", "decay_epochs": 3.0}, "schedule", Decay(0.1, every=3.0, warmup=1.0)),
    ({"min_lr": 0.1, "warmup_epochs": 2}, "schedule", Cosine(2.0, 0.1)),
    ({"sched": "constant"}, "schedule", Cosine(1.0, 1.0)),
    ({"lr": 0.1, "batch_size": 64}, "learning_rate", 0.4),
    ({"lr_base": 0.1, "batch_size": 64}, "learning_rate", 0.1),
    ({"layer_decay": 0.7}, "layer_decay", 0.7),
    ({"clip_grad": 2.0}, "clip_norm", 2.0),
    ({"model_ema": 0.99}, "average", RisingAverage(0.99)),
    ({"model_ema": 0.99, "model_ema_every": 8}, "average", SparseAverage(0.99, 8, warmup=1.0)),
    (
        {"warmup_start": 0.1, "sched_on_updates": False, "warmup_prefix": False},
        "schedule",
        Cosine(1.0, start=0.1, per_epoch=True, through_warmup=True),
    ),
    ({"aug_repeats": 3}, "repeats", 3),
    ({"train_crop_size": 160}, "size", 160),
    ({"grow_stages": 4, "grow_from": 64}, "growth", Growth(4, 64)),
    ({"grow_stages": 2, "grow_magnitude": 3}, "growth", Growth(2, 128, 3.0)),
    ({"epochs": 2}, "epochs", 2),
    ({"weight_decay": 0.5}, "weight_decay", 0.5),
    ({"crop": "random", "scale": (0.5, 1.0)}, "crop", RandomCrop(area=(0.5, 1.0))),
    ({"hflip": 0.25}, "augmentations", (Flip(0.25),)),
    (
        {"aa": "rand-m5-n1", "color_jitter": 0.1, "reprob": 0.5},
        "augmentations",
        (TimmRandAugment(5.0, 1), ColorJitter(0.1, 0.1, 0.1), RandomErasing(0.5)),
    ),
    ({"aa": "original"}, "augmentations", (autoaugment,)),
    ({"aa": "ta_wide"}, "augmentations", (trivialaugment,)),
    ({"aa": "ra"}, "augmentations", (RandAugment(),)),
    (
        {"reprob": 0.5, "remode": "const"},
        "augmentations",
        (RandomErasing(0.5, noise=False),),
    ),
]


@pytest.mark.parametrize(("given", "name", "value"), CHANGES)
def test_a_setting_changes_the_recipe(given, name, value):
    assert getattr(recipe_of(Settings.of(recipe="quick", **given)), name) == value


@pytest.mark.parametrize(
    ("opt", "momentum", "nesterov"), [("sgd", 0.8, True), ("momentum", 0.7, False)]
)
def test_the_optimizer_is_the_one_that_is_named(opt, momentum, nesterov):
    algorithm = recipe_of(Settings.of(opt=opt, momentum=momentum)).algorithm
    assert algorithm.keywords == {"momentum": momentum, "nesterov": nesterov}  # pyright: ignore


REFUSED = [
    ({"epochs": 0}, ValueError, "`epochs` must be a positive integer, got 0"),
    ({"seed": -1}, ValueError, "`seed` must be an integer of at least 0, got -1"),
    ({"epochs": 1.5}, TypeError, "`epochs` must be of type int, got 1.5"),
    ({"bce": 1}, TypeError, "`bce` must be of type bool, got 1"),
    ({"opt": "adan"}, ValueError, "`opt` must be one of .*, got 'adan'"),
    ({"log": "wandb"}, TypeError, "`log` must be a list, got 'wandb'"),
    ({"recipe": "slow"}, ValueError, "`recipe` must be one of finetune, .* got 'slow'"),
    ({"leaning_rate": 1}, ValueError, "no setting called 'leaning_rate'"),
    ({"smoothing": 2.0}, ValueError, "`smoothing` must lie between 0 and 1"),
    ({"scale": (0.5, 0.1)}, ValueError, "`scale` must be two numbers between 0 and 1, in order"),
    ({"train": ("a",), "freeze": ("b",)}, ValueError, "give `train` or `freeze`, got both"),
]


@pytest.mark.parametrize(("given", "error", "words"), REFUSED)
def test_what_cannot_be_set_is_one_sentence(given, error, words):
    with pytest.raises(error, match=words):
        Settings.of(given)


def trained(model: nnx.Module, **given) -> set[str]:
    chosen = nnx.All(nnx.Param, trainable(Settings.of(**given), model))
    return {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model, chosen))}


def test_what_is_frozen_is_not_trained(tmp_path):
    register_tiny()
    images = ImageFolder(make_images(tmp_path, per_class=1))
    settings = Settings.of(freeze_bn=True, remat=True, drop=0.2)
    model = make_model(settings, Origin("tiny", "", PREPROCESS), images)
    everything = trained(model)
    assert trained(model, freeze=("stem,stages.0-0",)) == {
        name for name in everything if name.startswith("head.")
    }
    assert trained(model, train=("head",)) == trained(model, freeze=("stem", "stages"))
    assert trained(model, freeze_bn=True) == {name for name in everything if ".norm." not in name}
    norms = [node for _, node in nnx.iter_graph(model) if isinstance(node, fb.BatchNorm)]
    assert norms and all(norm.use_running_average for norm in norms)
    assert model.rematerialization


def test_ranges_of_modules():
    assert module_paths(("a,b.1-3", "c")) == ("a", "b.1", "b.2", "b.3", "c")
