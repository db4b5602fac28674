"""The benchmark makes sense: who is slow is last, who is wrong is not timed. Nothing is timed."""

import argparse
import json
import signal
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from flaxblocks.bench import command
from flaxblocks.bench.report.results import Ceilings, read
from flaxblocks.bench.sides import contestants
from flaxblocks.bench.sides.answers import difference, limit
from flaxblocks.bench.sides.contestants import OURS, RIVALS, Contestant, rivals
from flaxblocks.bench.tasks.cost import cost_of
from flaxblocks.bench.tasks.random_data import draw
from flaxblocks.bench.tasks.subjects import BLOCKS, matching
from flaxblocks.bench.tasks.task import Task
from flaxblocks.bench.timing import ceilings, measure, workers
from flaxblocks.bench.timing import run as bench
from flaxblocks.bench.timing.interleaved import ROUNDS
from flaxblocks.bench.timing.measure import MOST_KERNELS, NotTimedError
from flaxblocks.bench.timing.workers import Workers
from tests.helpers.bench_rivals import Here, contestant

LAX, TORCH, *_, NATIVE = RIVALS


def task(subject: str, mode: str = "infer", batch: int = 2, size: int = 4) -> Task:
    return Task(subject, mode, batch, size, "float32", "cpu", 1)


def measured(task: Task, who: Sequence[Contestant]):
    with Workers() as staff:
        return measure.measure(task, who, 1e-3, lambda step: None, staff)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "Worker", Here)


@pytest.mark.parametrize(
    ("subject", "mode"),
    [
        ("MBConv/efficientnet-56", "infer"),
        ("MBConv/efficientnet-56", "train"),
        ("Conv/depthwise5x5-28", "infer"),
        ("Conv/depthwise5x5-28", "train"),
        ("Conv/depthwise5x5-28", "input"),
        ("Conv/depthwise5x5-28", "kernel"),
    ],
)
def test_all_contestants_give_the_same_answer(here, subject: str, mode: str):
    rows, notes = measured(task(subject, mode), [OURS, LAX, TORCH, NATIVE])
    assert [row.contestant for row in rows] == ["flaxblocks", "lax", "torch", "native"]
    assert notes == []
    assert max(row.difference for row in rows) < 1e-5


def test_a_whole_training_step_is_pytorchs_and_its_kernels_are_known(here):
    rows, notes = measured(task("timm/test_resnet", "step", batch=4, size=32), [OURS, TORCH])
    assert notes == [] and rows[1].difference < 1e-4
    for row in rows:
        assert 0 < len(row.kernels) <= MOST_KERNELS and row.kernels[0][1] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18"])
def test_networks_give_torchvisions_answer(here, name: str):
    rows, _ = measured(task(name, "train", size=64), [OURS, TORCH])
    assert rows[1].difference < 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of its compiler
def test_compiled_and_exported_modules_give_the_same_answer(here):
    compiled, exported = RIVALS[2:4]
    able = [rival for rival in (compiled, exported) if not rival.missing()]
    rows, notes = measured(task("BottleNeck/resnext50-56"), [OURS, *able])
    assert len(rows) == 1 + len(able) and notes == []


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_a_wrong_answer_is_not_timed(here, monkeypatch: pytest.MonkeyPatch, mode: str):
    monkeypatch.setattr(Here, "time", lambda *_: pytest.fail("it was timed"))
    with pytest.raises(NotTimedError, match=r"the answers differ from .* wrong by 0\.01"):
        measured(task("Conv/pointwise-56", mode), [OURS, contestant("wrong")])


def test_a_task_that_we_cannot_do_is_not_timed(here):
    with pytest.raises(NotTimedError, match="failing cannot: no such instruction"):
        measured(task("Conv/pointwise-56"), [contestant("failing"), OURS])


def test_who_is_slow_is_last_and_who_cannot_is_said():
    """In processes of their own, as on the command line."""
    who = [OURS, contestant("slow"), contestant("failing")]
    rows, notes = measured(task("Conv/depthwise5x5-14"), who)
    assert [row.contestant for row in rows] == ["flaxblocks", "slow"]
    ours, slow = rows
    assert ours.high < slow.low
    assert ours.compile_seconds > 0 and ours.calls >= ROUNDS
    assert ours.memory is None or 0 < ours.memory < 2**32
    assert len(notes) == 1 and notes[0].endswith("failing cannot: no such instruction")


def test_differences():
    ours = {"output": np.array([3.0, 4.0])}
    assert difference({"output": np.array([3.0, 4.5])}, ours) == pytest.approx(0.1)
    for theirs in ({}, {"output": np.zeros(3)}, {"output": np.array([3.0, np.nan])}):
        assert difference(theirs, ours) == np.inf


def test_what_may_differ_depends_on_the_rounding():
    assert limit(task("resnet18")) < limit(task("resnet18", "train")) < 0.01
    in_float64 = Task("resnet18", "train", 1, 64, "float64", "cpu", 1)
    assert limit(in_float64) < 1e-9 < limit(task("resnet18"))


def test_every_contestant_gets_the_same_and_nothing_is_trivial():
    first, second = draw(task("MBConv/mobilenet_v2-56")), draw(task("MBConv/mobilenet_v2-56"))
    assert first.weights.keys() == second.weights.keys()
    for name, value in first.weights.items():
        np.testing.assert_array_equal(value, second.weights[name])
        assert value.ndim == 0 or len(np.unique(value)) > 1
    np.testing.assert_array_equal(first.x, second.x)
    assert first.target.shape == (2, 4, 4, 24)


def test_work_is_counted():
    pointwise = task("Conv/pointwise-56", batch=3, size=5)
    pixels, reads = 3 * 5 * 5, 64
    work, moved = cost_of(pointwise)
    assert work == pixels * reads * 256
    assert moved == 4 * (pixels * (64 + 256) + 64 * 256)
    step = task("Conv/pointwise-56", "train", batch=3, size=5)
    assert cost_of(step) == (3 * work, 3 * moved)
    assert cost_of(replace(step, mode="kernel")) == (work, moved)


def test_names():
    assert [one.name for one in matching(["Conv/dense*", "resnet18", "Conv/dense3x3-7*"][:2])] == [
        "Conv/dense3x3-56",
        "Conv/dense3x3-28",
        "Conv/dense3x3-14",
        "resnet18",
    ]
    with pytest.raises(ValueError, match=r"no block .* network is called 'resnet51'.*resnet50"):
        matching(["resnet51"])
    assert len({block.name for block in BLOCKS}) == len(BLOCKS)


def test_rivals_that_are_not_installed_are_said(monkeypatch: pytest.MonkeyPatch):
    there, not_there = LAX, Contestant("tvm", "none:none", ("no_such_package",))
    monkeypatch.setattr(contestants, "RIVALS", (there, not_there))
    chosen, notes = rivals(["tvm", "lax"])
    assert chosen == [there]
    assert notes == ["tvm does not take part: no_such_package is not installed"]
    one_mode = Contestant("xnn", "none:none", modes=("infer",))
    monkeypatch.setattr(contestants, "RIVALS", (there, one_mode))
    assert rivals(["xnn", "lax", "xnn"]) == ([one_mode, there], ["xnn only does infer"])
    monkeypatch.setattr(contestants, "RIVALS", (there, not_there))
    with pytest.raises(ValueError, match="`--against` must be among lax, tvm, got 'theano'"):
        rivals(["theano"])


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(arguments)


def test_ceilings_are_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ceilings, "SIDE", {"cpu": 64})
    monkeypatch.setattr(ceilings, "COPIED", {"cpu": 2**12})
    found = ceilings._measure(task("Conv/pointwise-56"))
    assert found.flops > 0 and found.bandwidth > 0 and found.device == "cpu"


def test_the_command_line(here, monkeypatch: pytest.MonkeyPatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "ceilings", lambda _: Ceilings(2e11, 1e10, "cpu"))
    file, page = tmp_path / "results.json", tmp_path / "page"
    command.run(
        options(
            *("Conv/pointwise-56", "--input-size", "4", "--against", "lax"),
            *("--threads", "1", "--seconds", "1", "--json", str(file), "--plot", str(page)),
        )
    )
    printed = capsys.readouterr().out
    assert "Conv/pointwise-56, infer, batch 1, 4 pixels" in printed
    results = read(file)
    assert [row.contestant for row in results.rows] == ["flaxblocks", "lax"]
    assert {"date", "command", "versions", "processor", "threads"} <= results.facts.keys()
    assert json.loads(file.read_text())["refused"] == []
    assert {path.name for path in page.iterdir()} == {"index.html"}


def interrupt():
    raise KeyboardInterrupt


def test_an_interrupted_run_keeps_what_it_has(here, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "ceilings", lambda _: Ceilings(2e11, 1e10, "cpu"))
    done = iter([([], ["first"])])
    monkeypatch.setattr(bench, "measure", lambda *_: next(done, None) or interrupt())
    tasks = [task("Conv/pointwise-56", batch=batch) for batch in (1, 2, 3)]
    results = bench.bench(tasks, [OURS], 1, {})
    assert results.notes[0] == "first"
    assert results.notes[1].startswith("interrupted at Conv/pointwise-56, infer, batch 2")


def test_a_stopped_command_writes_what_it_has(here, monkeypatch: pytest.MonkeyPatch, tmp_path):
    """`timeout` sends SIGTERM."""
    monkeypatch.setattr(bench, "ceilings", lambda _: Ceilings(2e11, 1e10, "cpu"))
    monkeypatch.setattr(bench, "measure", lambda *_: signal.raise_signal(signal.SIGTERM))
    former, file = signal.getsignal(signal.SIGTERM), tmp_path / "results.json"
    command.run(
        options("Conv/pointwise-56", "--against", "lax", "--threads", "1", "--json", str(file))
    )
    assert "interrupted at Conv/pointwise-56, infer, batch 1" in file.read_text()
    assert signal.getsignal(signal.SIGTERM) is former


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite", "standard", "resnet18"], "`--suite` standard takes no names, got resnet18"),
        (["--threads", "100000"], "`--threads` must be at most"),
        (["--json", "no/such/folder/file"], "there is no folder"),
        (["resnet18", "--mode", "kernel"], "`--mode` must be infer or train or step for resnet18"),
        (["MBConv/*", "--mode", "step"], "`--mode` must be infer or train for MBConv"),
        (["no_such_network"], "no block or classifying network is called 'no_such_network'"),
    ],
)
def test_bad_input_is_said(arguments: list[str], said: str):
    with pytest.raises(ValueError, match=said):
        command.run(options(*arguments))
