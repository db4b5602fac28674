"""Weights from an address with a hash, and torchvision's table of such addresses."""

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import flaxblocks as fb
from flaxblocks.models import registry
from flaxblocks.weights import download
from tests.helpers.weight_files import Server, abstract, assert_equal, is_abstract, network, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLAXBLOCKS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def weights(folder: Path, suffix: str = ".pth") -> bytes:
    return fb.save_weights(network(), folder / f"weights{suffix}").read_bytes()


def named(content: bytes, digits: int = 8, suffix: str = ".pth") -> str:
    return f"/net-{hashlib.sha256(content).hexdigest()[:digits]}{suffix}"


def refused(kind: type[Exception], message: str, url: str, cache: Path) -> None:
    target = abstract()
    with pytest.raises(kind, match=message):
        fb.load_weights(target, url)
    assert is_abstract(target)
    assert not cache.exists() or list(cache.iterdir()) == []


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("digits", [8, 10, 64])
def test_an_address_is_fetched_once(suffix, digits, server: Server, cache: Path, tmp_path: Path):
    content = weights(tmp_path, suffix)
    path = named(content, digits, suffix)
    url = server.put(path, content)
    server.requests.clear()
    for _ in range(2):
        target = abstract()
        fb.load_weights(target, url)
        assert_equal(target, fb.state_dict(network()))
    assert server.requests == [f"GET {path}"]
    assert [p.name for p in cache.iterdir()] == [path[1:]]


def test_a_redirection_is_followed(server: Server, tmp_path: Path):
    content = weights(tmp_path)
    place = server.put("/elsewhere", content)
    url = server.url + "/from" + named(content)
    server.responses["/from" + named(content)] = (302, {"Location": place}, b"")
    target = abstract()
    fb.load_weights(target, url)
    assert_equal(target, fb.state_dict(network()))


def test_another_content_is_refused_and_removed(server: Server, cache: Path, tmp_path: Path):
    content = weights(tmp_path)
    url = server.put(named(content), content[:-1] + b"x")
    refused(ValueError, "`source` is not what it was published as: .* was removed", url, cache)


def test_a_download_that_breaks_off_is_refused(server: Server, cache: Path, tmp_path: Path):
    content = weights(tmp_path)
    url = server.put(named(content), content[:100], Content_Length=str(len(content)))
    server.responses[named(content)][1]["Connection"] = "close"
    refused(ValueError, "`source` is not what it was published as", url, cache)


def test_a_cached_file_that_was_changed_is_removed_and_fetched_again(
    server: Server, cache: Path, tmp_path: Path
):
    content = weights(tmp_path)
    url = server.put(named(content), content)
    cache.mkdir()
    (cache / named(content)[1:]).write_bytes(b"something else")
    refused(ValueError, "`source` is not what it was published as", url, cache)
    fb.load_weights(abstract(), url)


def test_an_address_without_a_hash(server: Server, cache: Path, tmp_path: Path):
    url = server.put("/resnet-50.pth", weights(tmp_path))
    server.requests.clear()
    refused(ValueError, "`source` must end in a hash .* got .*/resnet-50.pth", url, cache)
    assert server.requests == []


@pytest.mark.parametrize("status", [403, 404])
def test_an_address_that_does_not_exist(status: int, server: Server, cache: Path):
    server.responses["/gone-01234567.pth"] = (status, {}, b"")
    url = server.url + "/gone-01234567.pth"
    refused(FileNotFoundError, "`source` does not exist: .*/gone", url, cache)


def test_a_server_in_trouble(server: Server, cache: Path):
    server.responses["/net-01234567.pth"] = (503, {}, b"")
    url = server.url + "/net-01234567.pth"
    refused(ConnectionError, "`source` cannot be fetched: .*503", url, cache)


def test_a_server_that_is_not_there(cache: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}/net-01234567.pth"
    refused(ConnectionError, "`source` cannot be reached: .*net-01234567.pth", url, cache)


def test_a_silent_server(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/net-01234567.pth"
        refused(ConnectionError, "`source` cannot be reached: .*timed out", url, cache)


def test_code_in_a_download_is_refused(server: Server, tmp_path: Path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    content = (tmp_path / "module.pth").read_bytes()
    target = abstract()
    with pytest.raises(ValueError, match="nothing in it was run"):
        fb.load_weights(target, server.put(named(content), content))
    assert is_abstract(target)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert download.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("FLAXBLOCKS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert download.cache_folder() == Path("/xdg/flaxblocks")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert download.cache_folder() == Path("/home/somebody/.cache/flaxblocks")


# torchvision's own


def test_torchvisions_weights_are_fetched_by_name(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The file of that name is served here, so it is not torchvision's and fails its hash."""
    record = fb.model_info("resnet18")
    here = replace(record.weights[0], source=server.url + "/models/resnet18-f37072fd.pth")
    monkeypatch.setitem(registry._own, "resnet18", replace(record, weights=(here,)))
    server.put("/models/resnet18-f37072fd.pth", weights(tmp_path))
    server.requests.clear()
    target = abstract()
    with pytest.raises(ValueError, match=r"should have a SHA-256 of f37072fd\.\.\."):
        fb.load_weights(target, "torchvision:resnet18/IMAGENET1K_V1", names="torchvision")
    assert server.requests == ["GET /models/resnet18-f37072fd.pth"]
    assert is_abstract(target)


@pytest.mark.parametrize(
    "source,message",
    [
        ("resnet51/IMAGENET1K_V1", "names no network of torchvision's: 'resnet51'; .*resnet50"),
        ("zzz", "names no network of torchvision's: 'zzz'$"),
        ("resnet50/V3", "must be torchvision:resnet50/IMAGENET1K_V2, .*_V1, got .*resnet50/V3"),
        ("resnet50", "must be torchvision:resnet50/IMAGENET1K_V2, .*got 'torchvision:resnet50'"),
    ],
)
def test_names_that_torchvision_has_not(source: str, message: str, cache: Path):
    refused(ValueError, message, f"torchvision:{source}", cache)
