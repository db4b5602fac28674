"""The folder of a run: begun once, and gone on with by the same settings only."""

import json

import jax
import pytest

from flaxblocks.train.run.run_folder import open_run

SETTINGS = {"model": "resnet18", "steps": 10}


def test_a_run_is_not_begun_over_another(tmp_path):
    open_run(tmp_path / "a" / "b", SETTINGS, resume=False)
    with pytest.raises(ValueError, match=r"there is a run in .* already"):
        open_run(tmp_path / "a" / "b", SETTINGS, resume=False)
    folder = open_run(tmp_path / "a" / "b", SETTINGS, resume=True)
    assert json.loads(folder.settings.read_text()) == SETTINGS


def test_a_run_goes_on_with_its_own_settings_only(tmp_path):
    open_run(tmp_path, SETTINGS, resume=True)
    with pytest.raises(ValueError, match="started with steps 10, and cannot be resumed with 20"):
        open_run(tmp_path, SETTINGS | {"steps": 20}, resume=True)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^the folder .*out cannot be written: Not a directory$"):
        open_run(tmp_path / "file" / "out", SETTINGS, resume=False)


def test_of_several_processes_the_first_one_begins_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    second = open_run(tmp_path, SETTINGS, resume=False)
    assert not second.settings.exists()
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    first = open_run(tmp_path, SETTINGS, resume=False)
    assert first.settings.exists()
    assert (first.log.name, second.log.name) == ("log.jsonl", "log-1.jsonl")
