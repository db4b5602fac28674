"""What a run leaves and shows of itself: the log, TensorBoard's files, the line, the plot."""

import io
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from tensorboardX.proto import event_pb2

from flaxblocks.train.run.json_log import JsonLines, read_log
from flaxblocks.train.run.plot import plot
from flaxblocks.train.run.progress import ProgressLine
from flaxblocks.train.run.tensorboard import TensorBoard

RECORDS = [
    {"step": 2, "loss": 1.5, "accuracy": 0.25, "images_per_second": 9.0, "seconds_left": 3.0}
    | {"input_stall": 0.5},
    {"step": 4, "evaluation_loss": 1.25, "evaluation_accuracy": 0.5, "evaluation_accuracy5": 1.0},
    {"step": 5, "unreadable": "cat.png", "text": "left out cat.png: it is truncated"},
]


def test_a_log_goes_on_after_the_step_that_was_saved(tmp_path):
    log = JsonLines(tmp_path / "log.jsonl")
    for record in RECORDS:
        log(record)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # the process was killed
    JsonLines(tmp_path / "log.jsonl", step=4)({"step": 5, "loss": 1.0})
    assert read_log(tmp_path / "log.jsonl") == [*RECORDS[:2], {"step": 5, "loss": 1.0}]


def test_there_is_no_log_before_it_begins(tmp_path):
    assert read_log(tmp_path / "log.jsonl") == []


def events(folder: Path) -> list[Any]:
    """Return what the files of TensorBoard hold: length, checksum, content, checksum."""
    found = []
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(vars(event_pb2)["Event"].FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def test_tensorboard_gets_the_numbers(tmp_path):
    with TensorBoard(tmp_path, step=1) as board:
        for record in RECORDS:
            board(record)
    scalars = {
        (value.tag, event.step): value.simple_value
        for event in events(tmp_path)
        for value in event.summary.value
    }
    assert scalars == {
        (name, record["step"]): value
        for record in RECORDS
        for name, value in record.items()
        if isinstance(value, float)
    }


def shown(records: list[dict], *, terminal: bool, first: bool = True) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    with ProgressLine(100, console, first=first) as live:
        for record in records:
            live(record)
    return out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_person_sees_how_it_goes(terminal):
    text = shown(RECORDS, terminal=terminal)
    for words in (
        "step 2/100  loss 1.5000  9 images/s  0:00:03 left  waits for images 50 %",
        "step 4: evaluation loss 1.2500, accuracy 50.00 %",
        "left out cat.png: it is truncated",
    ):
        assert words in text
    assert ("\x1b[" in text) == terminal


def test_without_a_terminal_a_line_appears_in_time():
    out = io.StringIO()
    console = Console(file=out, force_terminal=False, width=120)
    with ProgressLine(100, console, patience=0.01) as progress:
        assert out.getvalue().startswith("the first step is being compiled\n")
        while out.getvalue().count("\n") < 3:
            time.sleep(0.01)
        progress.done(7)
        while "after step 7/100 (0:" not in out.getvalue():
            time.sleep(0.01)
    assert "the first step is being compiled (0:00:00)\n" in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_of_several_processes_the_first_one_tells_how_it_goes(terminal):
    assert shown(RECORDS, terminal=terminal, first=False) == "left out cat.png: it is truncated\n"


@pytest.mark.parametrize("records", [RECORDS, []])
def test_the_plot_is_a_picture(tmp_path, records):
    plot(records, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1000, 400)
