"""Files of torch.save: code in them is refused and never run; what is no state dict is named."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from tests.helpers.weight_files import abstract, arrays, refused, saved

# Code in a pickle


class Canary:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_code_in_a_pickle_is_refused_and_never_run(suffix: str, legacy: bool, tmp_path: Path):
    mark, path = tmp_path / "mark", tmp_path / f"a{suffix}"
    content = {k: torch.from_numpy(v) for k, v in arrays(abstract()).items()}
    torch.save(
        {"state_dict": content, "extra": Canary(mark)},
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    refused(ValueError, r"asks for posix\.mkdir: refused, and nothing in it was run", path)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the mark is real
    assert mark.exists()


def test_a_bare_pickle_is_refused_and_never_run(tmp_path: Path):
    mark, path = tmp_path / "mark", tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(Canary(mark), protocol=2))
    refused(ValueError, "`source`", path)
    assert not mark.exists()


def test_a_whole_module_is_refused(tmp_path: Path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    refused(ValueError, r"asks for torch\.nn\.modules\.linear\.Linear: refused", tmp_path / "a.pth")


# Checkpoints without a state dict


@pytest.mark.parametrize(
    "content,held",
    [
        ({"epoch": 3, "net": {"w": torch.ones(2)}}, "holds epoch, net"),
        ({"state_dict": {"epoch": 3}}, "holds state_dict"),
        (torch.ones(3), "holds Tensor"),
        ({}, "holds dict"),
    ],
)
def test_a_checkpoint_without_a_state_dict(content, held: str, tmp_path: Path):
    torch.save(content, tmp_path / "a.pth")
    refused(ValueError, rf"`source` must hold a state dict, .* {held}", tmp_path / "a.pth")


def test_a_key_that_names_no_state_dict(tmp_path: Path):
    torch.save({"epoch": 3, "net": {"w": torch.ones(2)}}, tmp_path / "a.pth")
    refused(
        ValueError, "`key` must name a state dict .* got 'epoch'", tmp_path / "a.pth", key="epoch"
    )
    refused(ValueError, r"unexpected w, shape \(2,\)", tmp_path / "a.pth", key="net")


def test_a_key_for_safetensors(tmp_path: Path):
    refused(
        ValueError,
        "`key` is for checkpoints of torch.save",
        saved(tmp_path, ".safetensors"),
        key="model",
    )
