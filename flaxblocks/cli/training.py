# pyright: reportUnknownMemberType=false
"""From settings to a network, its images and how it is trained."""

import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import flaxblocks as fb
from flaxblocks.imagenet import synsets
from flaxblocks.models import Backbone, model_info
from flaxblocks.models.registry import check_classifies
from flaxblocks.train import (
    Training,
    recipe_of,
    replicate,
    shard_largest,
    split_statistics,
    under,
)
from flaxblocks.train.data import ImageFolder, Records, TarShards, hugging_face, training_folders
from flaxblocks.train.data.hugging_face import PREFIX
from flaxblocks.train.data.tar_shards import archives
from flaxblocks.train.run.outcome import class_names
from flaxblocks.train.run.settings import Settings
from flaxblocks.weights.origin import Origin, resolve


def origin_of(settings: Settings) -> Origin:
    """Return the network, and how images are prepared as its weights and the settings say.

    Raises:
        OSError: if there are no such weights, or they are out of reach.
        ValueError: if the network is unknown or does not classify images, or nothing names it.
    """
    if settings.weights is not None:
        origin = resolve(settings.model, settings.weights)
    elif settings.model is not None:
        origin = Origin(settings.model, "", model_info(settings.model).preprocess)
    else:
        raise ValueError("`model` or `weights` must say which network, got neither")
    check_classifies(origin.name)
    preprocess = origin.preprocess
    if settings.in_chans != preprocess.channels and settings.in_chans == 1:
        preprocess = preprocess.in_gray()
    if settings.input_size is not None:
        preprocess = preprocess.at_size(settings.input_size)
    colors = {n: value for n in ("mean", "std") if (value := getattr(settings, n)) is not None}
    return replace(origin, preprocess=replace(preprocess, **colors))


Images = ImageFolder | TarShards | Records


def read_images(place: str) -> tuple[Images, Images | None]:
    """Return the images to train on, and those to judge by if there are any.

    Args:
        place: a folder of folders or archives, or a dataset of the Hub.

    Raises:
        ImportError: if `datasets` is needed and not installed.
        OSError: if there is no such folder.
        ValueError: if there are no images, or those to judge by are of other classes.
    """
    if place.startswith(PREFIX):
        return hugging_face(place.removeprefix(PREFIX))
    train, validation = training_folders(place)
    images = TarShards(train) if archives(train) else ImageFolder(train)
    if validation is None:
        return images, None
    kind = TarShards if archives(validation) else ImageFolder
    return images, kind(validation, images.classes)


def make_model(settings: Settings, origin: Origin, images: Images) -> Backbone:
    """Return the network, with a new classifier where its weights are for other classes.

    Raises:
        OSError: if the weights are out of reach.
        ValueError: if they do not fit, or the images are of more classes than are asked for.
    """
    outputs = settings.num_classes or images.num_classes
    if outputs < images.num_classes:
        raise ValueError(
            f"`num_classes` must be at least the images' {images.num_classes}, got {outputs}"
        )
    rngs = nnx.Rngs(settings.seed)
    model = fb.create_model(
        origin.name,
        weights=settings.weights,
        key=settings.key,
        num_classes=outputs,
        in_features=origin.preprocess.channels,
        drop_rate=settings.drop,
        drop_path_rate=settings.drop_path,
        dtype=jnp.bfloat16 if settings.dtype == "bfloat16" else None,
        rngs=rngs,
    )
    if origin.labels(outputs) not in ((), class_names(images, outputs), synsets()):
        model.reset_classifier(outputs, rngs=rngs)  # as many, but other ones
    model.set_rematerialization(settings.remat)
    split_statistics(model, statistics_groups(settings.sync_bn, jax.device_count()))
    if settings.freeze_bn:
        for norm in _batch_norms(model).values():
            norm.use_running_average = True
    return model


def make_training(settings: Settings, origin: Origin, model: Backbone) -> Training:
    """Return how the network is trained."""
    return Training(
        recipe_of(settings),
        origin.preprocess,
        batch_size=settings.batch_size,
        trainable=trainable(settings, model),
        accumulate=settings.accumulate,
        recalibrate=settings.recalibrate,
        eval_metric=settings.eval_metric,
        save_best=settings.save_best,
        logs=settings.log,
        workers=settings.workers,
        seed=settings.seed,
        log_every=settings.log_every,
        save_every=settings.save_every,
        keep=settings.checkpoint_hist,
        groups=settings.mesh_groups,
        rule=shard_largest if settings.fsdp else replicate,
    )


def statistics_groups(sync_bn: str, devices: int) -> int:
    """Return in how many parts a batch is normalized.

    >>> statistics_groups("global", 8), statistics_groups("replica", 8), statistics_groups("4", 8)
    (1, 8, 2)

    Raises:
        ValueError: if the devices cannot be divided like that.
    """
    if sync_bn in ("global", "replica"):
        return 1 if sync_bn == "global" else devices
    sharing = int(sync_bn)
    if not sharing or devices % sharing:
        raise ValueError(f"`sync_bn` must divide the {devices} devices, got {sync_bn}")
    return devices // sharing


def trainable(settings: Settings, model: nnx.Module) -> Any:
    """Return the filter of the parameters that are trained.

    Raises:
        ValueError: if a module that is named is not there.
    """
    kept = module_paths(settings.freeze)
    only = module_paths(settings.train)
    known = {".".join(map(str, path)) for path, _ in nnx.iter_graph(model)}
    for name, paths in (("freeze", kept), ("train", only)):
        for path in paths:
            if path not in known:
                raise ValueError(
                    f"`{name}` must name modules such as head or stages.3, got {path!r}"
                )
    norms = tuple(_batch_norms(model)) if settings.freeze_bn else ()
    chosen = under(*only) if only else ...
    frozen = (*kept, *norms)
    return nnx.All(chosen, nnx.Not(under(*frozen))) if frozen else chosen


def module_paths(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths of modules that are given with commas and ranges.

    >>> module_paths(("stem,stages.0-2",))
    ('stem', 'stages.0', 'stages.1', 'stages.2')
    """
    paths: list[str] = []
    for name in (part for text in names for part in text.split(",") if part):
        found = re.fullmatch(r"(.*\.)(\d+)-(\d+)", name)
        if found is None:
            paths.append(name)
        else:
            first, last = int(found[2]), int(found[3])
            paths += [f"{found[1]}{number}" for number in range(first, last + 1)]
    return tuple(paths)


def _batch_norms(model: nnx.Module) -> dict[str, nnx.BatchNorm]:
    return {
        ".".join(map(str, path)): node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, nnx.BatchNorm)
    }
