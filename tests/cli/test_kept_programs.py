"""Commands that answer at once keep what they compile for the next time."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from safetensors.torch import save_file
from torchvision.models import get_model

from flaxblocks._base.programs import keep_compiled_programs
from flaxblocks.cli.commands import make_parser
from parity.photo import SAMPLE

DIRECTORY = "jax_compilation_cache_dir"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict:
    """Return what JAX is told, which it does not hear."""
    told = {}
    monkeypatch.setattr(jax.config, "update", told.__setitem__)
    monkeypatch.setattr(type(jax.config), DIRECTORY, None, raising=False)
    monkeypatch.setenv("FLAXBLOCKS_CACHE", str(tmp_path / "cache"))
    return told


def test_programs_are_kept_in_the_cache(told: dict, tmp_path: Path):
    keep_compiled_programs()
    assert told[DIRECTORY] == str(tmp_path / "cache" / "programs")
    assert told["jax_persistent_cache_min_compile_time_secs"] == 0


def test_a_folder_of_the_users_own_stays(told: dict, monkeypatch):
    monkeypatch.setattr(type(jax.config), DIRECTORY, "/mine", raising=False)
    keep_compiled_programs()
    assert told == {}


def test_a_cache_that_cannot_be_written_is_done_without(told: dict, tmp_path: Path):
    (tmp_path / "cache").touch()
    keep_compiled_programs()
    assert told == {}


@pytest.mark.parametrize(
    ("command", "keeps"),
    [
        (["classify", "cat.jpg", "--model", "resnet18", "--weights", "w.pth"], True),
        (["evaluate", "--data", "folder", "--model", "resnet18", "--weights", "w.pth"], True),
        (["bench"], False),  # it says how long compiling takes
        (["models"], False),
    ],
)
def test_which_commands_do(command: list[str], keeps: bool):
    assert make_parser().parse_args(command).keeps_programs == keeps


@pytest.mark.slow
def test_the_second_process_compiles_nothing(tmp_path: Path):
    save_file(get_model("mobilenet_v3_small").state_dict(), tmp_path / "weights.safetensors")
    environment = os.environ | {"FLAXBLOCKS_CACHE": str(tmp_path / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = (
        sys.executable, "-m", "flaxblocks", "classify", str(SAMPLE), "--model",
        "mobilenet_v3_small", "--weights", str(tmp_path / "weights.safetensors"),
    )  # fmt: skip
    answers, kept = [], []
    for _ in range(2):
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
        answers.append(done.stdout)
        kept.append({path.name for path in (tmp_path / "cache" / "programs").glob("*-cache")})
    assert answers[0] == answers[1]
    assert kept[0] == kept[1] != set()
