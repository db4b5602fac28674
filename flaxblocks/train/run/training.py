"""Training from a source of images to a folder of results."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import optax
from flax import nnx
from jax.sharding import Mesh

from flaxblocks.preprocess.transform import Preprocess
from flaxblocks.train.data.batches import Feed, Place, evaluation_batches, training_batches
from flaxblocks.train.data.named import make_augment
from flaxblocks.train.data.source import Source
from flaxblocks.train.data.unreadable import UnreadableImages
from flaxblocks.train.run.checkpoints import Checkpoints
from flaxblocks.train.run.json_log import JsonLines, read_log
from flaxblocks.train.run.loop import Intervals, Loop, Step, Watcher, evaluate
from flaxblocks.train.run.plot import plot
from flaxblocks.train.run.progress import Live
from flaxblocks.train.run.recipes import Recipe
from flaxblocks.train.run.run_folder import RunFolder, open_run
from flaxblocks.train.run.stop import Stop
from flaxblocks.train.run.tensorboard import TensorBoard
from flaxblocks.train.step.normalize import normalize
from flaxblocks.train.step.sharding import Rule, make_mesh, place_state, replicate, shard_batch
from flaxblocks.train.step.state import TrainState, create_state
from flaxblocks.train.step.train_step import make_eval_step, make_train_step


@dataclass(frozen=True)
class Training:
    """How a network is trained on a source of images.

    >>> from flaxblocks.train import RECIPES
    >>> training = Training(RECIPES["quick"], fb.create_preprocess("resnet18"), batch_size=64)
    >>> state = training.run(model, ImageFolder("photos"), "results")  # doctest: +SKIP

    Args:
        recipe: the optimizer, how long, and what is done to the images.
        preprocess: size, mean and deviation of the images; for evaluation, all of it.
        batch_size: images in a step, over all devices.
        seed: of the order of the images and of what is done to them.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints; an epoch where absent.
        keep: how many checkpoints are kept.
        devices: what to train on, all there are where absent.
        rule: how the parameters lie on the devices.
        make_step: makes the train step out of the optimizer, for other losses; the recipe's own
            step where absent.
    """

    recipe: Recipe
    preprocess: Preprocess
    batch_size: int = 256
    seed: int = 0
    log_every: int = 50
    save_every: int | None = None
    keep: int = 3
    devices: Sequence[Any] | None = None
    rule: Rule = replicate
    make_step: Callable[[optax.GradientTransformation], Step] | None = None

    def run(
        self,
        model: nnx.Module,
        images: Source,
        out: str | os.PathLike[str],
        *,
        validation: Source | None = None,
        settings: Mapping[str, Any] = MappingProxyType({}),
        resume: bool = False,
        stop: Stop | None = None,
    ) -> TrainState:
        """Train a network, and leave its log, plot and checkpoints in a folder.

        Several processes, after `jax.distributed.initialize`, share the folder: the first one
        writes all but the log, which each keeps of its own images.

        Args:
            model: the network; it stays as it is.
            images: to train on.
            out: the folder.
            validation: images to evaluate on after each epoch; none where absent.
            settings: what else the result depends on; a run that goes on must have the same.
            resume: whether to go on with the run that is in the folder, if there is one.
            stop: says when to save and stop early.

        Returns:
            The state at the end, or where it was stopped.

        Raises:
            ImportError: if a package that training needs is not installed.
            OSError: if something cannot be written.
            ValueError: if the devices do not divide the batch, the images are not as they should
                be, the network is no longer finite, or the folder has a run that cannot go on.
        """
        mesh = self._mesh()
        damage = UnreadableImages(len(images) + (len(validation) if validation else 0))
        batches = training_batches(
            images,
            make_augment(self.recipe.augmentations, self.preprocess.crop),
            batch_size=self.batch_size,
            damage=damage,
            seed=self.seed,
        )
        per_epoch = len(images) // self.batch_size
        until = per_epoch * self.recipe.epochs
        folder = open_run(out, {"steps": until, "seed": self.seed, **settings}, resume=resume)
        optimizer = self.recipe.optimizer(until, self.batch_size)
        state = place_state(mesh, create_state(model, optimizer, average=self._averages), self.rule)
        place = partial(shard_batch, mesh)
        with (
            Live(until, first=folder.process == 0) as live,
            Checkpoints(folder.checkpoints, keep=self.keep) as checkpoints,
            Feed(batches, place) as feed,
        ):
            state = _resumed(state, checkpoints, feed, live.say)
            begin = int(state.step)
            with _written(folder, begin) as writers:
                loop = Loop(
                    step=(self.make_step or self._step)(optimizer),
                    feed=feed,
                    checkpoints=checkpoints,
                    watchers=(*writers, live),
                    evaluate=self._evaluation(validation, damage, place),
                    damage=damage,
                    intervals=Intervals(self.log_every, self.save_every or per_epoch, per_epoch),
                    stop=stop or Stop(),
                )
                state = loop.run(state, until)
        if folder.process == 0:
            plot(read_log(folder.log), folder.curves)
        return state

    @property
    def _averages(self) -> bool:
        return self.recipe.average_decay is not None

    def _mesh(self) -> Mesh:
        mesh = make_mesh(self.devices)
        if self.batch_size % mesh.size:
            raise ValueError(
                f"`batch_size` must be a multiple of the {mesh.size} devices, got {self.batch_size}"
            )
        return mesh

    def _step(self, optimizer: optax.GradientTransformation) -> Step:
        return make_train_step(
            optimizer,
            label_smoothing=self.recipe.label_smoothing,
            mixing=self.recipe.mixing,
            average_decay=self.recipe.average_decay or 0.0,
            prepare=normalize(self.preprocess.mean, self.preprocess.std),
            seed=self.seed,
        )

    def _evaluation(
        self, images: Source | None, damage: UnreadableImages, place: Place
    ) -> Callable[[TrainState], dict[str, float]] | None:
        """Return what gives the loss and accuracy of a state."""
        if images is None:
            return None
        batches = evaluation_batches(
            images, self.preprocess, batch_size=self.batch_size, damage=damage
        )
        step = make_eval_step(average=self._averages)

        def evaluation(state: TrainState) -> dict[str, float]:
            with Feed(batches, place) as feed:
                return evaluate(step, state, feed)

        return evaluation


@contextmanager
def _written(folder: RunFolder, begin: int) -> Iterator[tuple[Watcher, ...]]:
    """Give what writes a process's log; TensorBoard's files are the first one's."""
    log = JsonLines(folder.log, begin)
    if folder.process:
        yield (log,)
        return
    with TensorBoard(folder.tensorboard, begin) as board:
        yield log, board


def _resumed(
    state: TrainState, checkpoints: Checkpoints, feed: Feed, tell: Callable[[str], None]
) -> TrainState:
    """Return the newest state there is, and bring the feed to its place."""
    found = checkpoints.restore(state, tell)
    if found is None:
        return state
    state, position = found
    feed.go_to(position)
    return state
