"""The loop: what it logs, when it saves, and how it stops."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from flaxblocks.train.data import Feed, UnreadableImages
from flaxblocks.train.run import loop as loop_module
from flaxblocks.train.run.checkpoints import Checkpoints
from flaxblocks.train.run.loop import DivergedError, Evaluation, Loop, all_finite
from flaxblocks.train.run.stop import Stop
from flaxblocks.train.step.state import Batch, TrainState, create_state
from tests.helpers.tiny_training import Tiny, same

Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


@pytest.fixture(scope="module")
def beginning() -> TrainState:
    return create_state(Tiny(rngs=nnx.Rngs(0)), optax.sgd(0.1))


def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
    """Count, and add up what the batches say."""
    params = jax.tree.map(lambda leaf: leaf + batch["label"].sum(), state.params)
    loss = 1 / (1.0 + state.step)
    return replace(state, step=state.step + 1, params=params), {"loss": loss, "accuracy": 1 - loss}


def feed(pause: float = 0.0, grows_at: int = 1000) -> Feed:
    """Return endless batches of four labels, each made after a pause."""

    def batch(index: int) -> dict[str, np.ndarray]:
        time.sleep(pause)
        side = 1 if index < grows_at else 2
        return {"image": np.zeros((4, side, side, 3)), "label": np.full(4, index % 7)}

    images = grain.MapDataset.range(1000).map(batch)
    return Feed(images.to_iter_dataset(grain.ReadOptions(1, 1)), lambda batch: batch)


def run(
    state: TrainState,
    folder: Path,
    until: int,
    step: Step = step,
    *,
    pause: float = 0.0,
    grows_at: int = 1000,
    evaluate: Evaluation | None = None,
    unreadable: UnreadableImages | None = None,
    stop: Stop | None = None,
) -> tuple[TrainState, list[dict]]:
    """Go on in a folder, and return the end and what was told."""
    records = []
    with feed(pause, grows_at) as batches, Checkpoints(folder) as checkpoints:
        found = checkpoints.restore(state, print)
        if found is not None:
            state, position = found
            batches.go_to(position)
        loop = Loop(
            step,
            batches,
            checkpoints,
            watchers=(records.append,),
            evaluate=evaluate,
            unreadable=unreadable,
            log_every=2,
            save_every=4,
            evaluate_every=3,
            stop=stop or Stop(),
        )
        state = loop.run(state, until)
    return state, records


def test_it_tells_means_and_rates(beginning, tmp_path):
    _, records = run(beginning, tmp_path, 5)
    assert [record["step"] for record in records] == [2, 4, 5]
    assert [record["loss"] for record in records] == pytest.approx([3 / 4, 7 / 24, 1 / 5])
    for record in records:
        assert record["images_per_second"] > 0
        assert 0 <= record["input_stall"] <= 1
    assert records[-1]["seconds_left"] == 0


def test_compiling_for_a_new_shape_is_no_training_time(beginning, tmp_path, monkeypatch):
    now = [0.0]
    compiled: set[tuple[int, ...]] = set()

    def timed(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        shape = batch["image"].shape
        now[0] += 1 if shape in compiled else 1001  # seconds
        compiled.add(shape)
        return step(state, batch)

    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    _, records = run(beginning, tmp_path, 8, timed, grows_at=4)
    assert len(compiled) == 2
    # The steps that are compiled count as taking no time.
    assert max(record["seconds_left"] for record in records) <= 6
    assert min(record["images_per_second"] for record in records) >= 4


def test_a_run_that_goes_on_is_one_that_never_stopped(beginning, tmp_path):
    whole, _ = run(beginning, tmp_path / "whole", 9)
    run(beginning, tmp_path / "parts", 5)
    parts, records = run(beginning, tmp_path / "parts", 9)
    assert same(whole, parts)
    assert [record["step"] for record in records] == [6, 8, 9]


def test_it_saves_now_and_then_and_at_the_end(beginning, tmp_path):
    run(beginning, tmp_path, 9)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [4, 8, 9]


def test_it_evaluates_the_state_of_that_step(beginning, tmp_path):
    kept = []

    class Judge:
        def __call__(self, state: TrainState) -> dict[str, float]:
            return {"loss": float(state.step)}

        def keep(self, state: TrainState, values: dict[str, float]) -> None:
            saved = sorted(int(path.name) for path in tmp_path.iterdir() if path.name.isdigit())
            kept.append((int(state.step), values["loss"], saved))

    _, records = run(beginning, tmp_path, 7, evaluate=Judge())
    told = [(r["step"], r["evaluation_loss"]) for r in records if "evaluation_loss" in r]
    assert told == [(3, 3.0), (6, 6.0), (7, 7.0)]
    # What is best is kept once the checkpoint is written, which matters more.
    assert kept == [(3, 3.0, []), (6, 6.0, [4]), (7, 7.0, [4, 7])]


def test_waiting_for_images_is_visible(beginning, tmp_path):
    _, records = run(beginning, tmp_path, 8, pause=0.1)
    assert records[1]["input_stall"] > 0.5


def test_images_that_cannot_be_read_are_told(beginning, tmp_path):
    unreadable = UnreadableImages(total=10)
    unreadable.add("cat.png", "it is truncated")
    _, records = run(beginning, tmp_path, 4, unreadable=unreadable)
    assert records[0] == {
        "step": 1,
        "unreadable": "cat.png",
        "text": "left out cat.png: it is truncated",
    }
    assert records[1]["unreadable_images"] == 1


def breaking(at: int, loss: float, param: float) -> Step:
    """Return a step that goes wrong once."""

    def broken(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        now = int(state.step) + 1 == at
        state, metrics = step(state, batch)
        if now:
            state = replace(state, params=jax.tree.map(lambda p: p * param, state.params))
            metrics["loss"] = metrics["loss"] * loss
        return state, metrics

    return broken


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (breaking(6, np.nan, 1.0), "the loss of step 6 is nan: training stops, and step 4 is kept"),
        (breaking(7, np.inf, 1.0), "the loss of step 7 is inf: training stops, and step 4 is kept"),
        (breaking(8, 1.0, np.nan), "after step 8 the network is no longer finite: training stops"),
        (breaking(2, np.nan, 1.0), "the loss of step 2 is nan: training stops"),
    ],
)
def test_it_stops_where_the_numbers_end(beginning, tmp_path, broken, words):
    with pytest.raises(DivergedError, match=words):
        run(beginning, tmp_path, 20, broken)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == ([] if "step 2" in words else [4])


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(beginning, tmp_path, kind):
    whole, _ = run(beginning, tmp_path / "whole", 20)

    def signalled(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        if state.step == 5:
            os.kill(os.getpid(), kind)
        return step(state, batch)

    before = signal.getsignal(kind)
    with Stop() as stop:
        state, _ = run(beginning, tmp_path / "parts", 20, signalled, stop=stop)
    assert stop.asked is kind
    assert signal.getsignal(kind) is before
    assert state.step == 6
    parts, _ = run(beginning, tmp_path / "parts", 20)
    assert same(whole, parts)


@pytest.mark.parametrize("name", ["log_every", "save_every", "evaluate_every"])
def test_intervals_are_positive(name, as_installed):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
        Loop(step, None, None, **{name: 0})  # pyright: ignore[reportArgumentType]


def test_only_finite_numbers_are_finite(beginning):
    assert all_finite(beginning)
    broken = jax.tree.map(lambda p: p.at[..., 0].set(jnp.nan), beginning.params)
    assert not all_finite(replace(beginning, params=broken))
