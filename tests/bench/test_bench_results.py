"""What is made of the measurements: ratios, targets, growth, files, tables, pictures."""

from itertools import product
from pathlib import Path

import pytest

from flaxblocks.bench.report.page import write_page
from flaxblocks.bench.report.readme import rendered
from flaxblocks.bench.report.results import Ceilings, Results, read
from flaxblocks.bench.report.scaling import growths
from flaxblocks.bench.report.targets import ON_ACCELERATORS, ON_CPU, verdicts
from flaxblocks.bench.tasks.suites import SUITES, Plan
from flaxblocks.bench.tasks.task import Task
from tests.helpers.bench_results import FACTS, RESULTS, ROWS, row


def test_a_row_knows_its_rates():
    one = ROWS[0]
    assert one.images_per_second == pytest.approx(800)
    assert one.flops == pytest.approx(2e11)
    assert one.bandwidth == pytest.approx(1e10)


def test_targets_are_geometric_means_against_the_best():
    lax, best, each = verdicts(ROWS, "cpu")
    assert (lax.target.limit, lax.tasks, lax.met) == (10, 2, True)
    assert lax.mean == pytest.approx(20) and lax.worst == pytest.approx(10)
    assert (best.target.limit, best.tasks, best.met) == (0.8, 2, False)
    assert best.mean == pytest.approx(1) and best.worst == pytest.approx(2)
    assert each.target.every and each.worst == pytest.approx(2) and not each.met


def test_an_accelerator_has_targets_of_its_own():
    rows = [
        row("resnet50", "flaxblocks", 0.9, "step"),
        row("resnet50", "torch-compile", 1.0, "step"),
        row("efficientnet_b0", "flaxblocks", 1.1, "step"),
        row("efficientnet_b0", "torch-compile", 1.0, "step"),
        row("Conv/dense3x3-14", "flaxblocks", 5.0),
        row("Conv/dense3x3-14", "torch-compile", 1.0),
        row("resnet50", "flaxblocks", 0.8),
        row("resnet50", "torch-compile", 1.0),
    ]
    mean, each, inference = verdicts(rows, "NVIDIA H100")
    assert [verdict.target for verdict in (mean, each, inference)] == list(ON_ACCELERATORS)
    assert mean.mean == pytest.approx((0.9 * 1.1) ** 0.5) and not mean.met
    assert each.worst == pytest.approx(1.1) and not each.met
    assert inference.mean == pytest.approx(0.8) and inference.met  # of networks alone


def test_the_standard_suite_has_tasks_for_every_target():
    tasks = [task for plan in SUITES["standard"].plans for task in plan.tasks("float32", "cpu", 2)]
    names = ("flaxblocks", *SUITES["standard"].against)
    rows = [row(t.subject, who, 1.0, t.mode) for t, who in product(tasks, names)]
    rows.sort(key=lambda row: row.task)
    assert [verdict.target for verdict in verdicts(rows, "cpu")] == list(ON_CPU)


def test_a_plan_is_every_combination():
    plan = Plan(("Conv/pointwise-56",), ("infer",), (1, 2), (8, 16))
    tasks = [
        Task("Conv/pointwise-56", "infer", n, s, "f", "cpu", 1) for n in (1, 2) for s in (8, 16)
    ]
    assert plan.tasks("f", "cpu", 1) == tasks


def test_growth_is_the_exponent():
    rows = [
        row("resnet18", "flaxblocks", 0.1 * n * s**2, batch=n, size=s, memory=1000 * n)
        for n, s in [(1, 64), (2, 64), (4, 64), (8, 64), (8, 32), (8, 128)]
    ]
    by_batch, by_size = growths(rows)
    assert (by_batch.by, by_batch.fixed, by_batch.values) == ("batch", "64 pixels", (1, 2, 4, 8))
    assert by_batch.time == pytest.approx(1) and by_batch.memory == pytest.approx(1)
    assert by_size.time == pytest.approx(2) and by_size.memory == pytest.approx(0)
    assert "time grows as size^2.00" in str(by_size)


def test_a_file_keeps_everything(tmp_path: Path):
    RESULTS.write(tmp_path / "results.json")
    assert read(tmp_path / "results.json") == RESULTS


def test_the_page_tells_everything(tmp_path: Path):
    text = write_page(RESULTS, tmp_path / "page").read_text()
    assert text.count("<svg ") == 2
    for said in ("MBConv/efficientnet-28", "Z80", "nobody came", "wrong", "2026-01-02"):
        assert said in text


def test_the_readmes_tables():
    text = rendered(RESULTS)
    assert "| MBConv, inference | lax | ≥ 10 x faster | 20.0 (10.0) |" in text
    assert "| MBConv/efficientnet-56, inference | 8 | 10.0 | 400 (40.0x) | 20.0 (2.00x) |" in text
    assert "images/s" not in text
    assert "Z80, 2 threads each, float32" in text and "jax 1.2.3" in text
    assert "Made by `OMP_PROC_BIND=true python -m flaxblocks.bench`." in text


def test_the_readme_tells_the_rate_and_the_memory_of_networks():
    rows = (
        row("resnet18", "flaxblocks", 0.1, "train"),
        row("resnet18", "torch", 0.2, "train", memory=None),
    )
    text = rendered(Results(FACTS, Ceilings(2e11, 1e10, "cpu"), rows))
    assert "| images/s (MiB) | batch | flaxblocks | torch |" in text
    assert "| resnet18, training step | 8 | 80.0 (1) | 40.0 |" in text


def test_a_target_may_be_about_the_compilation():
    rows = (
        row("efficientnet_b0", "flaxblocks", 0.1, compile_seconds=3.0),
        row("efficientnet_b0", "lax", 0.2, compile_seconds=1.0),
    )
    speed, compilation = verdicts(rows, "cpu")
    assert speed.mean == pytest.approx(2) and not speed.met
    assert compilation.mean == pytest.approx(3) and not compilation.met


def test_a_target_may_be_about_the_memory():
    rows = (
        row("resnet18", "flaxblocks", 0.1, memory=105),
        row("resnet18", "torch", 0.1, memory=200),
        row("resnet18", "onnxruntime", 0.2, memory=100),
        row("resnet50", "flaxblocks", 0.1, memory=None),
        row("resnet50", "torch", 0.1, memory=100),
    )
    *_, memory = verdicts(rows, "cpu")
    assert memory.target.wanted == "≤ 1.1 x their memory, each"
    assert memory.worst == pytest.approx(1.05) and memory.met and memory.tasks == 1


def test_a_task_that_was_measured_again_counts_as_it_was_last():
    again = Results(
        FACTS | {"date": "2026-01-03 03:04 UTC"},
        Ceilings(2e11, 1e10, "cpu"),
        (
            row("MBConv/efficientnet-56", "flaxblocks", 0.02),
            row("MBConv/efficientnet-56", "lax", 0.2),
        ),
    )
    text = rendered(again, RESULTS)
    assert "| MBConv/efficientnet-56, inference | 8 | 20.0 | 200 (10.0x) |  |" in text
    assert "| MBConv/efficientnet-28, inference | 8 | 10.0 | 100 (10.0x) | 20.0 (2.00x) |" in text
    assert "2026-01-02" in text and "2026-01-03" in text


def test_native_kernels_have_a_column_of_their_own():
    rows = (*ROWS[:3], row("MBConv/efficientnet-56", "native", 0.05))
    text = rendered(Results(FACTS, Ceilings(2e11, 1e10, "cpu"), rows))
    assert "| | against | wanted | flaxblocks | native |" in text
    assert "| ≥ 10 x faster | 40.0 (40.0) | 8.00 (8.00, missed) |" in text
