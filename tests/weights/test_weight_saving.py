"""Saving weights: one clear error for what cannot be, nothing half written."""

import sys
from pathlib import Path

import pytest

import flaxblocks as fb
from tests.helpers.weight_files import abstract, assert_equal, both_kinds, network


def test_saving_to_a_folder_that_does_not_exist(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="`path` is in a folder that does not exist"):
        fb.save_weights(network(), tmp_path / "none" / "a.safetensors")


def test_saving_to_a_folder(tmp_path: Path):
    with pytest.raises(IsADirectoryError, match="`path` must name a file"):
        fb.save_weights(network(), tmp_path)


def test_saving_with_an_unknown_suffix(tmp_path: Path):
    with pytest.raises(ValueError, match=r"`path` must end in \.safetensors, \.pth.* got .*a\.npz"):
        fb.save_weights(network(), tmp_path / "a.npz")


def test_saving_an_abstract_module(tmp_path: Path):
    with pytest.raises(ValueError, match="`module` is abstract"):
        fb.save_weights(abstract(), tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "name,size,message",
    [
        ("a.safetensors", 0, "`max_shard_size` must be a positive integer, got 0"),
        ("a.pth", 100, r"`max_shard_size` is for \.safetensors"),
    ],
)
def test_a_shard_size_that_cannot_be(name: str, size: int, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        fb.save_weights(network(), tmp_path / name, max_shard_size=size)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of a file")
@pytest.mark.parametrize("limit", [100, 15_000])
@pytest.mark.parametrize(
    "suffix,size", [(".safetensors", None), (".safetensors", 20_000), (".pth", None)]
)
def test_a_failed_write_leaves_what_was_there(suffix, size, limit, tmp_path: Path):
    import resource
    import signal

    path = tmp_path / f"a{suffix}"
    index = fb.save_weights(network(), path, max_shard_size=size)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails, as on a full disk
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError):
            fb.save_weights(network(seed=1), path, max_shard_size=size)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    target = abstract()
    fb.load_weights(target, index)
    assert_equal(target, fb.state_dict(network()))


@both_kinds
def test_the_file_is_as_readable_as_any_other(suffix: str, tmp_path: Path):
    """Safetensors' own writer makes files that only their owner may read."""
    (tmp_path / "other").touch()
    path = fb.save_weights(network(), tmp_path / f"a{suffix}")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
