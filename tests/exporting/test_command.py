"""What ``flaxblocks export`` refuses: by its option, before the work, and no file is lost."""

import os

import pytest
from PIL import Image

import flaxblocks as fb
from flaxblocks.cli import main
from flaxblocks.weights.card import Card
from tests.helpers.exported import FORMAT_NAMES, PREPROCESS, SIZE, SMALL, crops, suffix

OLD = b"an earlier model"


@pytest.fixture
def folder(network, tmp_path, monkeypatch):
    """Return a folder with a run, photographs, what is none, and an earlier model."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "photos", "empty", "texts"):
        (tmp_path / name).mkdir()
    fb.save_weights(network, tmp_path / "run" / "model.safetensors")
    Card(SMALL, 7, PREPROCESS, classes=tuple("abcdefg")).write(tmp_path / "run")
    Image.fromarray(crops(1, 50)[0]).save(tmp_path / "photos" / "0.png")
    (tmp_path / "texts" / "notes.txt").write_text("no photograph")
    (tmp_path / "model.onnx").write_bytes(OLD)
    return tmp_path


UNWRITABLE = f"{'a' * 256}.onnx"
"""A longer name than file systems have; even root cannot write it."""

INT8 = "--dtype int8 --calibration"
REFUSED = [
    ("--photos empty", "`--photos`: there is nothing in empty"),
    ("--photos texts", "`--photos` must be image files, and texts/notes.txt is not one"),
    ("--photos no.jpg", "`--photos`: there is no file no.jpg"),
    (f"{INT8} empty", "`--calibration`: there is nothing in empty"),
    (f"{INT8} photos texts", "`--calibration` must be image files, and texts/notes.txt is not one"),
    (f"{INT8} no.jpg", "`--calibration`: there is no file no.jpg"),
    ("--to onxn", "`--to` must be one of 4 formats, got 'onxn'; the nearest are onnx"),
    ("--dtype float33", "`--dtype` must be float32 or float16 or int8, got 'float33'"),
    ("--dtype bfloat16", "`--dtype` must be float32 or float16 or int8, got 'bfloat16'"),
    ("--run none", "`--run`: there is no folder none"),
    ("--run photos", "`--run` must be a finished run's folder, photos has no model.json"),
    ("--any-size", "`--any-size` is for `--to stablehlo`"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=[options for options, _ in REFUSED])
def test_bad_input_names_its_option_and_leaves_the_file(options: str, words: str, folder, capsys):
    command = f"export --run run --out model.onnx {options}".split()
    assert main(command) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and words in lines[0], lines
    assert (folder / "model.onnx").read_bytes() == OLD
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--out no/model.onnx", "`--out`: cannot write no/model.onnx, there is no folder"),
        ("--out model.xyz", "`--out` must end in"),
        (f"--out {UNWRITABLE}", f"`--out`: cannot write {UNWRITABLE}, "),
        ("--out model.onnx --dtype float33", "`--dtype` must be"),
        ("--out model.pt2 --dtype int8", "`--dtype` must be"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(
    options: str, words: str, folder, capsys, monkeypatch
):
    def work(*_, **__):
        raise AssertionError

    monkeypatch.setattr(fb, "quantize", work)
    monkeypatch.setattr("flaxblocks.cli.export.network_of", work)
    assert main(f"export --run run {options}".split()) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_a_file_that_differs_lies_beside_the_earlier_one(format: str, folder, capsys, monkeypatch):
    path, aside = (folder / f"model{end}{suffix(format)}" for end in ("", ".differs"))
    path.write_bytes(OLD)
    command = f"export --run run --out {path.name}".split()
    with monkeypatch.context() as patch:
        patch.setattr("flaxblocks.exporting.verify.BOUNDS", {"float32": -1.0})
        assert main(command) == 1
    text = capsys.readouterr().out
    assert "DIFFERS" in text
    assert f"{path.name} was left as it was: the file that differs is {aside.name}" in text
    assert path.read_bytes() == OLD
    assert fb.load_exported(aside).description.name == SMALL

    assert main(command) == 0
    assert "equal" in (text := capsys.readouterr().out) and "differs" not in text
    assert fb.load_exported(path).description.name == SMALL
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []


@pytest.mark.usefixtures("folder")
def test_one_of_two_comparisons_is_enough_to_differ(capsys, monkeypatch):
    monkeypatch.setattr("flaxblocks.exporting.verify.LEAST_SAME", 1.5)  # beside float32 alone
    assert main("export --run run --out new.onnx --dtype int8".split()) == 1
    assert capsys.readouterr().out.count("DIFFERS") == 1
    assert sorted(name for name in os.listdir() if "new" in name) == ["new.differs.onnx"]


def test_a_check_that_fails_leaves_everything_as_it_was(network, folder):
    def check(file):
        assert fb.load_exported(file).description.name == SMALL  # by its suffix
        raise KeyboardInterrupt

    before = sorted(os.listdir(folder))
    with pytest.raises(KeyboardInterrupt):
        fb.export(network, "model.onnx", input_size=SIZE, check=check)
    assert sorted(os.listdir(folder)) == before
    assert (folder / "model.onnx").read_bytes() == OLD
