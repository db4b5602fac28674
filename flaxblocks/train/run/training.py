# pyright: reportMissingTypeStubs=false
"""Training from a source of images to a folder of results."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import optax
from flax import nnx
from jax.sharding import Mesh

from flaxblocks.preprocess.transform import Preprocess
from flaxblocks.train.data.batches import Feed
from flaxblocks.train.data.source import Source
from flaxblocks.train.run.best import Best
from flaxblocks.train.run.checkpoints import Checkpoints
from flaxblocks.train.run.json_log import last_evaluation, read_log
from flaxblocks.train.run.judging import Judge, Recalibration, catch_up, recalibrated
from flaxblocks.train.run.log_writers import check_logs, log_writers
from flaxblocks.train.run.loop import Loop
from flaxblocks.train.run.outcome import Outcome, trained
from flaxblocks.train.run.pipelines import Pipelines
from flaxblocks.train.run.plot import plot
from flaxblocks.train.run.progress import ProgressLine
from flaxblocks.train.run.recipe import Recipe
from flaxblocks.train.run.report import write_report
from flaxblocks.train.run.run_folder import RunFolder, open_run
from flaxblocks.train.run.stop import Stop
from flaxblocks.train.run.warnings import warnings
from flaxblocks.train.step.evaluation import Scores, classification_scores, make_eval_step
from flaxblocks.train.step.filters import Filter
from flaxblocks.train.step.normalize import Prepare, normalize
from flaxblocks.train.step.sharding import Rule, make_mesh, place_state, replicate, shard_batch
from flaxblocks.train.step.state import TrainState, create_state
from flaxblocks.train.step.train_step import TrainStep, make_train_step


@dataclass(frozen=True)
class Training:
    """How a network is trained on a source of images.

    >>> from flaxblocks.train import recipes
    >>> training = Training(recipes.QUICK, fb.create_preprocess("resnet18"), batch_size=64)
    >>> state = training.run(model, ImageFolder("photos"), "results")  # doctest: +SKIP

    Args:
        recipe: loss, optimizer, length and augmentation.
        preprocess: size, mean and deviation of the images; for evaluation, all of it.
        batch_size: images in a step, over all devices.
        trainable: selects the parameters that are trained, see `create_state`.
        scores: what an evaluation counts.
        accumulate: parts of a batch whose gradients are summed, to save memory.
        recalibrate: training batches from which the normalizations' statistics are taken for each
            evaluation and for the weights that are kept, see `recalibrate`; 0 for the running
            statistics. Absent, it is 16 where the run is so short that more than a hundredth of
            their first values is left in them, else 0.
        eval_metric: which number of an evaluation says what the best weights are.
        save_best: whether they are kept apart, in ``best.safetensors``.
        logs: what is written beside the log in JSON lines: ``"tensorboard"``, ``"wandb"`` and
            ``"trackio"``, where their packages are installed.
        workers: threads that read images; twice the processors where absent.
        seed: seed of the order of the images, their augmentation and mixing.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints; an epoch where absent.
        keep: number of checkpoints that are kept.
        devices: the devices to train on; all where absent.
        groups: how many groups the devices form, see `make_mesh`.
        rule: how the parameters are sharded over the devices of a group.
    """

    recipe: Recipe
    preprocess: Preprocess
    batch_size: int = 256
    trainable: Filter = ...
    scores: Scores = classification_scores
    accumulate: int = 1
    recalibrate: int | None = None
    eval_metric: str = "accuracy"
    save_best: bool = True
    logs: Sequence[str] = ("tensorboard",)
    workers: int | None = None
    seed: int = 0
    log_every: int = 50
    save_every: int | None = None
    keep: int = 3
    devices: Sequence[Any] | None = None
    groups: int = 1
    rule: Rule = replicate

    def run(
        self,
        model: nnx.Module,
        images: Source,
        out: str | os.PathLike[str],
        *,
        validation: Source | None = None,
        settings: Mapping[str, Any] = MappingProxyType({}),
        config: str | None = None,
        resume: bool = False,
        stop: Stop | None = None,
    ) -> TrainState:
        """Train a network, and write its log, plot, checkpoints, weights and card to a folder.

        The card and the weights of a network that `create_model` made are what `load_run` takes.
        Several processes, after `jax.distributed.initialize`, share the folder: the first one
        writes everything but the log, of which each process writes its own.

        Args:
            model: the network; it is not changed.
            images: to train on.
            out: the folder.
            validation: images to evaluate on after each epoch; None for no evaluation.
            settings: what else the result depends on; a resumed run must have the same.
            config: what is written to ``config.toml``, see `Settings.toml`; nothing where absent.
            resume: whether to continue the run that is in the folder, if there is one.
            stop: asks to save and stop early.

        Returns:
            The last state.

        Raises:
            ImportError: if a package that training needs is not installed.
            OSError: if something cannot be written.
            ValueError: if the devices do not divide the batch, the images are not as they should
                be, the network is no longer finite, or the run in the folder cannot be resumed.
        """
        check_logs(self.logs)
        stop = stop or Stop()
        mesh = self._mesh()
        data = Pipelines(
            images,
            validation,
            self.recipe,
            self.preprocess,
            self.batch_size,
            workers=self.workers,
            seed=self.seed,
        )
        batches = data.training()
        until = data.per_epoch * self.recipe.epochs
        settings = {"steps": until, "seed": self.seed, **settings}
        folder = open_run(out, settings, config=config, resume=resume)
        optimizer = self.recipe.optimizer(until, self.batch_size)
        state = create_state(model, optimizer, trainable=self.trainable, average=self._averages)
        state = place_state(mesh, state, self.rule)
        place = partial(shard_batch, mesh)
        count = recalibrated(model, until) if self.recalibrate is None else self.recalibrate
        prepared = Recalibration(data.training(last=True), count, place, self._prepare)
        with (
            ProgressLine(until, first=folder.process == 0) as progress,
            Checkpoints(folder.checkpoints, keep=self.keep) as checkpoints,
            Feed(batches, place) as feed,
        ):
            state = _resumed(state, checkpoints, feed, progress.say)
            for line in warnings(self.recipe, images, until, self.batch_size):
                progress.say(f"warning: {line}")
            judge = self._judge(folder, mesh, data, stop, prepared, state)
            with log_writers(folder, int(state.step), self.logs, settings) as writers:
                loop = Loop(
                    step=self._step(optimizer, until),
                    feed=feed,
                    checkpoints=checkpoints,
                    watchers=(*writers, progress),
                    tick=progress.done,
                    evaluate=judge,
                    unreadable=data.unreadable,
                    log_every=self.log_every,
                    save_every=self.save_every or data.per_epoch,
                    evaluate_every=data.per_epoch,
                    stop=stop,
                )
                state = loop.run(state, until)
        log = read_log(folder.log)
        if folder.process == 0:
            plot(log, folder.curves)
            write_report(folder.path, log, settings)
        if int(state.step) == until:
            outcome = Outcome(images, self.preprocess, settings, last_evaluation(log))
            outcome.write(folder, trained(mesh, prepared(state)))
        return state

    @property
    def _averages(self) -> bool:
        return self.recipe.average is not None

    @property
    def _prepare(self) -> Prepare:
        return normalize(self.preprocess.mean, self.preprocess.std)

    def _mesh(self) -> Mesh:
        mesh = make_mesh(self.devices, self.groups)
        if self.batch_size % mesh.size:
            raise ValueError(
                f"`batch_size` must be a multiple of the {mesh.size} devices, got {self.batch_size}"
            )
        return mesh

    def _step(self, optimizer: optax.GradientTransformation, until: int) -> TrainStep:
        average, epochs = self.recipe.average, self.recipe.epochs
        return make_train_step(
            optimizer,
            loss=self.recipe.loss,
            mixing=self.recipe.mixing,
            average_decay=0.0 if average is None else average(until, epochs, self.batch_size),
            accumulate=self.accumulate,
            prepare=self._prepare,
            seed=self.seed,
        )

    def _judge(
        self,
        folder: RunFolder,
        mesh: Mesh,
        data: Pipelines,
        stop: Stop,
        prepared: Recalibration,
        state: TrainState,
    ) -> Judge | None:
        """Return what evaluates states from this one on, where there are images to judge by."""
        if data.validation is None:
            return None
        best = Best(folder, self.eval_metric, int(state.step)) if self.save_best else None
        step = make_eval_step(scores=self.scores, average=self._averages)
        batches = data.evaluation(data.validation)
        judge = Judge(step, batches, prepared.place, stop, prepared, best, mesh)
        # In case that the run was killed between a checkpoint and its best weights.
        catch_up(judge, state, read_log(folder.log))
        return judge


def _resumed(
    state: TrainState, checkpoints: Checkpoints, feed: Feed, report: Callable[[str], None]
) -> TrainState:
    """Return the newest checkpoint's state, if there is one, and move the feed to its position."""
    found = checkpoints.restore(state, report)
    if found is None:
        return state
    state, position = found
    feed.go_to(position)
    return state
