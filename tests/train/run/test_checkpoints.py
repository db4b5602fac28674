"""Checkpoints: whole or not there, and restored onto any devices."""

import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from flaxblocks.train import under
from flaxblocks.train.run.checkpoints import DIGESTS, Checkpoints
from flaxblocks.train.run.orbax_messages import hide_orbax_messages
from flaxblocks.train.step.sharding import AXIS, make_mesh, place_state, replicate
from flaxblocks.train.step.state import TrainState, create_state
from tests.helpers.tiny_training import Tiny, damage, same, small_files

ADAM, TRAINED = optax.adam(0.1), under("stem.norm", "head")


def at_step(state: TrainState, step: int) -> TrainState:
    """Return a state whose parameters tell the step."""
    params = jax.tree.map(lambda leaf: leaf + step, state.params)
    return replace(state, step=jnp.asarray(step, jnp.int32), params=params)


@pytest.fixture(scope="module")
def states() -> dict[int, TrainState]:
    """States with everything that one can have, by their step."""
    state = create_state(Tiny(rngs=nnx.Rngs(0)), ADAM, trainable=TRAINED, average=True)
    return {step: at_step(state, step) for step in (0, 2, 4, 6)}


@pytest.fixture(scope="module")
def written(states, tmp_path_factory) -> Path:
    """A folder with checkpoints of steps 4 and 6."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with Checkpoints(folder, keep=2) as checkpoints:
        for step in (2, 4, 6):
            checkpoints.save(states[step], {"next_index": 10 * step})
    return folder


@pytest.fixture
def folder(written, tmp_path) -> Path:
    """A copy of them, to be damaged."""
    return shutil.copytree(written, tmp_path / "kept")


def restore(folder: Path, like: TrainState) -> tuple[TrainState, int, list[str]]:
    """Return what is restored, where the data continue, and what was said."""
    said = []
    with Checkpoints(folder) as checkpoints:
        found = checkpoints.restore(like, said.append)
    assert found is not None
    return found[0], found[1]["next_index"], said


def test_the_newest_are_kept_and_restored(states, folder):
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps() == [4, 6]
    state, position, said = restore(folder, states[0])
    assert same(state, states[6])
    assert (position, said) == (60, [])


def test_a_new_folder_has_nothing_to_restore(states, tmp_path):
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.restore(states[0], print) is None


def rows(shape: tuple[int, ...], devices: int) -> PartitionSpec:
    """Divide the last axis over the devices where they divide it."""
    if not shape or shape[-1] % devices:
        return PartitionSpec()
    return PartitionSpec(*[None] * (len(shape) - 1), AXIS)


@pytest.mark.parametrize(("before", "after"), [(4, 1), (1, 4), (4, 2)])
def test_other_devices_restore_the_same_bits(states, tmp_path, before, after):
    def placed(state: TrainState, devices: int) -> TrainState:
        rule = replicate if devices == 1 else rows
        return place_state(make_mesh(jax.devices()[:devices]), state, rule)

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(placed(states[2], before), {"next_index": 0})
    like = placed(states[0], after)
    state, _, _ = restore(tmp_path, like)
    assert same(state, states[2])
    wanted = [leaf.sharding for leaf in jax.tree.leaves(like)]
    assert [leaf.sharding for leaf in jax.tree.leaves(state)] == wanted


def largest(folder: Path) -> Path:
    return max((f for f in folder.rglob("*") if f.is_file()), key=lambda file: file.stat().st_size)


DAMAGES = {
    "truncated": lambda folder: damage(largest(folder / "state")),
    "missing": lambda folder: largest(folder / "state").unlink(),
    "position": lambda folder: damage(next((folder / "data").glob("*.json"))),
    "digests": lambda folder: damage(folder / DIGESTS),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(states, folder, kind):
    DAMAGES[kind](folder / "6")
    state, position, said = restore(folder, states[0])
    assert same(state, states[4])
    assert position == 40
    (sentence,) = said
    assert sentence.startswith("the checkpoint of step 6 is damaged (")
    assert sentence.endswith("): trying the one before")
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(states[6], {"next_index": 60})
    assert same(restore(folder, states[0])[0], states[6])


def test_nothing_is_restored_where_all_are_damaged(states, folder):
    for step in ("4", "6"):
        damage(largest(folder / step / "state"))
    with Checkpoints(folder) as checkpoints, pytest.raises(ValueError, match="every checkpoint in"):
        checkpoints.restore(states[0], lambda sentence: None)


def test_what_a_killed_process_left_is_no_checkpoint(states, folder):
    (folder / "8.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    assert same(restore(folder, states[0])[0], states[6])
    assert sorted(os.listdir(folder)) == ["4", "6"]


def test_a_full_disk_is_one_sentence_and_leaves_what_there_was(states, folder, caplog):
    with Checkpoints(folder) as checkpoints:
        with small_files(1000), pytest.raises(OSError) as raised:
            checkpoints.save(at_step(states[0], 8), {"next_index": 80})
            checkpoints.wait()
    (sentence,) = str(raised.value).splitlines()
    assert sentence == (
        f"the checkpoint of step 8 cannot be written to {folder}: File too large; "
        "the newest is of step 6"
    )
    assert same(restore(folder, states[0])[0], states[6])


def test_only_the_sentence_is_said_of_a_full_disk(states, tmp_path, monkeypatch):
    """TensorStore would tell of each array that is still being written when the first one fails."""
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    hide_orbax_messages()
    params = {str(number): jnp.ones((300, 300)) for number in range(20)}
    with Checkpoints(tmp_path) as checkpoints, small_files(3000), pytest.raises(OSError):
        checkpoints.save(replace(states[2], params=params), {"next_index": 20})
        checkpoints.wait()
    assert said == []
    hook: Any = sys.unraisablehook
    hook(SimpleNamespace(exc_value=RuntimeError("another one")))
    assert len(said) == 1


def test_a_checkpoint_that_does_not_fit_is_not_begun(states, folder, monkeypatch):
    total, used, _ = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(total, used, 9))
    with Checkpoints(folder) as checkpoints, pytest.raises(OSError) as raised:
        checkpoints.save(at_step(states[0], 8), {"next_index": 80})
    words = r"^the checkpoint of step 8 .* [\d,]+ bytes, and 9 are free; the newest is of step 6$"
    assert re.match(words, str(raised.value))


@pytest.mark.parametrize("keep", [0, -1, True])
def test_the_number_of_checkpoints_is_checked(tmp_path, keep, as_installed):
    with pytest.raises(ValueError, match="`keep` must be a positive integer"):
        Checkpoints(tmp_path, keep=keep)


def test_random_keys_are_restored_as_keys(states, folder):
    """Saved from other keys than those of the state that says what to restore."""
    state, _, _ = restore(
        folder, create_state(Tiny(rngs=nnx.Rngs(1)), ADAM, trainable=TRAINED, average=True)
    )
    saved, restored = keys(states[6]), keys(state)
    assert len(saved) == len(restored) > 0
    for before, after in zip(saved, restored, strict=True):
        assert after.dtype == before.dtype
        assert np.array_equal(jax.random.key_data(after), jax.random.key_data(before))
        assert jax.random.normal(after) == jax.random.normal(before)


def keys(state: TrainState) -> list[jax.Array]:
    leaves = jax.tree.leaves(state.rng)
    return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
