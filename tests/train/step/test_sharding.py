"""Many devices and many processes give the numbers of one device."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from flaxblocks.train import (
    create_state,
    evaluate,
    make_eval_step,
    make_mesh,
    means,
    place_state,
    replicate,
    shard_batch,
    shard_largest,
)
from flaxblocks.train.step.sharding import Rule
from parity.trace.jax_program import QUICK
from tests.helpers.tiny_training import free_port
from tests.helpers.train_nets import apart, batch, float64_net, weights
from tests.helpers.train_worker import OPTIMIZER, ROWS, RULES, train

QUICK_FLAGS = [f"--{name}={value}".lower() for name, value in QUICK.items()]
EXACT = 1e-10  # of each array's scale: float64 rounds at 1e-16, and sums are short
STEPS = 3


@cache
def on_one_device():
    return train(jax.devices()[:1], STEPS)


@pytest.mark.parametrize(
    "devices,rule,groups",
    [
        (2, replicate, 1),
        pytest.param(4, replicate, 1, marks=pytest.mark.slow),
        pytest.param(4, shard_largest, 1, marks=pytest.mark.slow),
        (4, shard_largest, 2),
    ],
)
def test_devices_share_a_batch_and_change_nothing(devices: int, rule: Rule, groups: int, x64):
    whole, truth = on_one_device()
    state, losses = train(jax.devices()[:devices], STEPS, rule, groups)
    assert apart(state, whole) <= EXACT
    np.testing.assert_allclose(losses, truth, rtol=EXACT)
    assert all(len(leaf.sharding.device_set) == devices for leaf in jax.tree.leaves(state))


def run_worker(path: Path, devices: int, rule: str, cluster: tuple = ()) -> subprocess.Popen:
    flags = " ".join((f"--xla_force_host_platform_device_count={devices}", *QUICK_FLAGS))
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.helpers.train_worker",
            *map(str, (path, STEPS, rule, *cluster)),
        ],
        env={**os.environ, "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def finish(*workers: subprocess.Popen) -> None:
    said = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(workers), "\n".join(said)


def assert_equals_one_device(path: Path) -> None:
    whole, truth = on_one_device()
    with np.load(path) as found:
        np.testing.assert_allclose(found["losses"], truth, rtol=EXACT)
        for number, value in enumerate(weights(whole).values()):
            scale = max(1.0, np.abs(value).max())
            np.testing.assert_allclose(found[str(number)], value, rtol=0, atol=EXACT * scale)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_eight_devices_change_nothing(rule: str, tmp_path: Path, x64):
    finish(run_worker(tmp_path / "eight.npz", 8, rule))
    assert_equals_one_device(tmp_path / "eight.npz")


@pytest.mark.slow  # the command line has a default test of two processes
@pytest.mark.parametrize("rule", ["replicate", "shard_largest"])
def test_two_processes_of_two_devices_change_nothing(rule: str, tmp_path: Path, x64):
    address = f"127.0.0.1:{free_port()}"
    path = tmp_path / "two.npz"
    finish(*(run_worker(path, 2, rule, (address, 2, process)) for process in range(2)))
    assert_equals_one_device(path)


def test_evaluation_counts_no_padding(x64):
    """Eleven rows in batches of eight on four devices; the padding would spoil every sum."""
    state = create_state(float64_net(), OPTIMIZER)
    step, mesh, data = make_eval_step(), make_mesh(), batch(11)
    truth = means(step(state, data))
    padded = {
        "image": np.concatenate([data["image"], np.full((5, 5, 5, 3), np.inf)]),
        "label": np.concatenate([data["label"], np.zeros(5, np.int32)]),
        "weight": np.concatenate([np.ones(11, np.float32), np.zeros(5, np.float32)]),
    }
    batches = [
        shard_batch(mesh, {name: rows[start : start + 8] for name, rows in padded.items()})
        for start in (0, 8)
    ]
    assert evaluate(step, place_state(mesh, state), batches) == pytest.approx(truth, rel=EXACT)


def test_refuses_rows_that_the_devices_do_not_divide():
    with pytest.raises(ValueError, match="that 4 devices divide, got 6 in 'image'"):
        shard_batch(make_mesh(), batch(6))


def test_sharded_parameters_take_their_part_of_the_memory(x64):
    state = place_state(make_mesh(), create_state(float64_net(), OPTIMIZER), shard_largest)
    for tree in (state.params, state.optimizer):
        leaves = jax.tree.leaves(tree)
        held = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
        divided = sum(leaf.nbytes for leaf in leaves if leaf.sharding.spec != PartitionSpec())
        assert divided > 0
        assert held == sum(leaf.nbytes for leaf in leaves) - divided * 3 // 4


def test_each_group_holds_all_parameters_and_batches_are_divided_over_both(x64):
    mesh = make_mesh(groups=2)
    assert dict(mesh.shape) == {"group": 2, "data": 2}
    state = place_state(mesh, create_state(float64_net(), OPTIMIZER), shard_largest)
    for leaf in jax.tree.leaves(state.params):
        held = [shard.device.id for shard in leaf.addressable_shards if shard.replica_id == 0]
        assert len(held) == (1 if leaf.sharding.spec == PartitionSpec() else 2)
    rows = shard_batch(mesh, {"weight": np.arange(8.0)})["weight"]
    assert [float(shard.data[0]) for shard in rows.addressable_shards] == [0, 2, 4, 6]
    with pytest.raises(ValueError, match="`groups` must divide the 4 devices, got 3"):
        make_mesh(groups=3)


@pytest.mark.parametrize(
    "shape,spec",
    [
        ((3, 3, 64, 128), PartitionSpec(None, None, None, "data")),
        ((3, 3, 128, 30), PartitionSpec(None, None, "data", None)),
        ((4096, 1), PartitionSpec("data", None)),
        ((33, 33), PartitionSpec()),  # four devices divide neither axis
        ((64,), PartitionSpec()),  # too small to gain
        ((), PartitionSpec()),
    ],
    ids=str,
)
def test_shards_the_longest_axis_that_can_be(shape: tuple, spec: PartitionSpec):
    assert shard_largest(shape, 4) == spec
    assert replicate(shape, 4) == PartitionSpec()


def test_rows_of_the_batch_lie_in_order():
    assert ROWS % 8 == 0
    rows = np.arange(8, dtype=np.float32)
    placed = shard_batch(make_mesh(), {"weight": rows})["weight"]
    assert [float(shard.data[0]) for shard in placed.addressable_shards] == [0, 2, 4, 6]
    assert jnp.array_equal(placed, rows)
