"""What is printed about bad input: in one line, with the options' names, in any encoding."""

import io
import sys
from argparse import ArgumentTypeError

import pytest

from flaxblocks._base.command_line import above_0, exit_status, natural


def fail(error: Exception):
    def run():
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("`seed` must be at least 0"), "`--seed` must be at least 0"),
        (TypeError("`other` must be a number"), "`other` must be a number"),
        (KeyError("record 0 has no 'image'"), "record 0 has no 'image'"),
        (RuntimeError("out of memory"), "out of memory"),
        (MemoryError(), "MemoryError"),
        (ValueError("first:\n  a\n  b\n  c\n  d"), "first: a; b; c; ..."),
    ],
)
def test_errors_are_one_line_that_names_the_options(capsys, error, told):
    assert exit_status("program", fail(error), {"seed": "--seed"}) == 2
    assert capsys.readouterr().err == f"program: error: {told}\n"


def test_an_interrupted_command_says_nothing(capsys):
    assert exit_status("program", fail(KeyboardInterrupt())) == 130  # pyright: ignore
    assert capsys.readouterr().err == ""


def test_a_name_that_no_encoding_has_is_printed_all_the_same(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8", errors="strict"))
    assert exit_status("program", lambda: print("caf\udce9.jpg", flush=True)) == 0
    assert written.getvalue() == b"caf\\udce9.jpg\n"


@pytest.mark.parametrize(
    ("read", "text", "value"), [(natural, "0", 0), (natural, "7", 7), (above_0, "0.5", 0.5)]
)
def test_numbers_are_read(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [(natural, "-1"), (natural, "a"), (above_0, "0"), (above_0, "nan"), (above_0, "-1")],
)
def test_other_numbers_are_refused(read, text):
    with pytest.raises(ArgumentTypeError, match=r"must be a.* got"):
        read(text)
