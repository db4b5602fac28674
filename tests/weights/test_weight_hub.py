"""Weights on the Hugging Face Hub, by its own client, from a server that answers as it does."""

import hashlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
from flax import nnx
from huggingface_hub import constants

import flaxblocks as fb
from flaxblocks.models import Backbone
from flaxblocks.weights.hub import FILES
from tests.helpers.weight_files import Server, abstract, assert_equal, is_abstract, network, serving

REPOSITORY = "somebody/resnet.tag"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {
    "architecture": "small",
    "num_classes": 10,
    "pretrained_cfg": {"input_size": [3, 64, 64], "num_classes": 1000},
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def hub(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Ask the server for everything, and keep it in an empty cache.

    The client reads its environment variables when it is imported.
    """
    server.responses.clear()
    server.requests.clear()
    point_to(server.url, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return server


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def publish(
    server: Server, files: dict[str, bytes], config: object = CONFIG, revision: str = "main"
) -> None:
    """Let the server have a repository with these files and no others."""
    if config is not None:
        files = {"config.json": json.dumps(config).encode(), **files}
    for name in ("config.json", *FILES):
        answer = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
        server.responses[f"/{REPOSITORY}/resolve/{revision}/{name}"] = (404, answer, b"")
    for name, content in files.items():
        server.put(
            f"/{REPOSITORY}/resolve/{revision}/{name}",
            content,
            ETag=f'"{hashlib.sha256(content).hexdigest()}"',
            X_Repo_Commit=COMMIT,
        )


def written(folder: Path, suffix: str = ".safetensors", **arguments) -> bytes:
    return fb.save_weights(network(**arguments), folder / f"w{suffix}").read_bytes()


def small(**arguments) -> Backbone:
    made = abstract(**arguments)
    made.name = "small"
    return made


def refused(
    kind: type[Exception], message: str, model: nnx.Module | None = None, source: str = REPOSITORY
) -> str:
    target = model or small()
    with pytest.raises(kind, match=message) as caught:
        fb.load_weights(target, f"hf-hub:{source}")
    assert is_abstract(target)
    return str(caught.value)


@pytest.mark.parametrize(
    "name,suffix", [("model.safetensors", ".safetensors"), ("pytorch_model.bin", ".bin")]
)
def test_a_repository_is_fetched_once_and_then_serves_offline(
    name: str, suffix: str, hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    publish(hub, {name: written(tmp_path, suffix)})
    for offline in (False, True):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        target = small()
        fb.load_weights(target, f"hf-hub:{REPOSITORY}")
        assert_equal(target, fb.state_dict(network()))
        asked = [request for request in hub.requests if request.startswith(f"GET /{REPOSITORY}/")]
        assert len(asked) == len(set(asked)) == 2  # the configuration and the weights


def test_safetensors_are_preferred(hub: Server, tmp_path: Path):
    publish(hub, {"model.safetensors": written(tmp_path), "pytorch_model.bin": b"not asked for"})
    fb.load_weights(small(), f"hf-hub:{REPOSITORY}")


def test_shards_are_fetched_by_their_index(hub: Server, tmp_path: Path):
    fb.save_weights(network(), tmp_path / "model.safetensors", max_shard_size=20_000)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert len(files) > 2
    publish(hub, files)
    target = small()
    fb.load_weights(target, f"hf-hub:{REPOSITORY}")
    assert_equal(target, fb.state_dict(network()))


def test_a_revision_can_be_named(hub: Server, tmp_path: Path):
    publish(hub, {"model.safetensors": written(tmp_path)}, revision="v2")
    target = small()
    fb.load_weights(target, f"hf-hub:{REPOSITORY}@v2")
    assert_equal(target, fb.state_dict(network()))


def test_what_timm_writes_for_the_hub_is_read(hub: Server, tmp_path: Path):
    theirs: Any = timm.create_model("resnet18", num_classes=10)
    timm.models.save_for_hf(theirs, str(tmp_path / "timm"), safe_serialization=True)
    files = {path.name: path.read_bytes() for path in (tmp_path / "timm").iterdir()}
    assert files.keys() == {"config.json", "model.safetensors"}
    publish(hub, files, config=None)
    name = "timm/resnet18"
    target = fb.create_model(name, weights=f"hf-hub:{REPOSITORY}", rngs=nnx.Rngs(0))
    preprocess = fb.create_preprocess(name, f"hf-hub:{REPOSITORY}")
    assert preprocess == fb.Preprocess.from_timm(theirs.pretrained_cfg)
    loaded = fb.state_dict(target, names="timm")
    truth = theirs.state_dict()
    assert loaded.keys() == truth.keys()
    assert all(np.array_equal(loaded[name], value.numpy()) for name, value in truth.items())


# The configuration


def test_every_difference_to_the_configuration_is_listed(hub: Server, tmp_path: Path):
    publish(hub, {"model.safetensors": written(tmp_path)})
    network = small(num_classes=7, in_features=4)
    network.name = "timm/other"
    message = refused(ValueError, "is not the network of the checkpoint's config.json", network)
    assert message.splitlines()[1:] == [
        "  architecture: the checkpoint is of 'small', `module` is 'timm/other'",
        "  num_classes: 10 given, 7 needed; see `new_head`",
        "  in_features: 3 given, 4 needed; see `adapt_stem`",
    ]
    assert not any("model.safetensors" in request for request in hub.requests)


def test_a_new_head_and_another_stem_may_differ_from_the_configuration(hub: Server, tmp_path: Path):
    publish(hub, {"model.safetensors": written(tmp_path)})
    target = small(num_classes=0, in_features=1)
    fb.load_weights(target, f"hf-hub:{REPOSITORY}", new_head=True, adapt_stem=True)
    truth = fb.state_dict(network())
    loaded = fb.state_dict(target)
    assert len(loaded) == len(truth) - 2
    assert (
        loaded["stages.3.blocks.0.second.conv.weight"]
        == truth["stages.3.blocks.0.second.conv.weight"]
    ).all()


@pytest.mark.parametrize(
    "config,listed",
    [
        ({"architecture": "small", "num_classes": 5, "input_size": [3, 8, 8]}, ["num_classes: 5"]),
        ({"architecture": "small"}, []),
        ({**CONFIG, "model_args": {"in_chans": 4}}, ["in_features: 4"]),
        (
            {"architectures": ["ResNetForImageClassification"]},
            ["architecture: the checkpoint is of None"],
        ),
    ],
    ids=["flat", "short", "arguments", "transformers"],
)
def test_configurations_of_other_times_and_libraries(config, listed, hub: Server, tmp_path: Path):
    publish(hub, {"model.safetensors": written(tmp_path)}, config)
    if not listed:
        fb.load_weights(small(), f"hf-hub:{REPOSITORY}")
        return
    lines = refused(ValueError, "is not the network").splitlines()[1:]
    assert len(lines) == len(listed)
    assert all(line.strip().startswith(start) for line, start in zip(lines, listed, strict=True))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_network_knows_its_name(name: str):
    made = nnx.eval_shape(lambda: fb.create_model(name, rngs=nnx.Rngs(0)))
    assert made.name == nnx.merge(*nnx.split(made)).name == name
    assert abstract().name is None


def test_a_network_made_without_a_name_is_refused(hub: Server, tmp_path: Path):
    publish(hub, {"model.safetensors": written(tmp_path)})
    refused(ValueError, "checkpoint is of 'small', `module` is None", abstract())


def test_a_block_is_refused(hub: Server):
    publish(hub, {})
    block = nnx.eval_shape(lambda: fb.Conv(3, 4, 3, rngs=nnx.Rngs(0)))
    refused(ValueError, "`module` must be a network such as create_model makes .* got Conv", block)


@pytest.mark.parametrize("content", [b"{", b"[]"])
def test_a_damaged_configuration(content: bytes, hub: Server):
    publish(hub, {"config.json": content})
    refused(ValueError, f"`source` hf-hub:{REPOSITORY} has a (damaged )?config.json")


# What is not there


def test_a_repository_that_does_not_exist(hub: Server):
    hub.responses["/no/such/resolve/main/config.json"] = (
        404,
        {"X-Error-Code": "RepoNotFound"},
        b"",
    )
    refused(FileNotFoundError, "`source` hf-hub:no/such does not exist", source="no/such")


def test_a_revision_that_does_not_exist(hub: Server):
    path = f"/{REPOSITORY}/resolve/none/config.json"
    hub.responses[path] = (404, {"X-Error-Code": "RevisionNotFound"}, b"")
    refused(FileNotFoundError, "has no such revision", source=f"{REPOSITORY}@none")


def test_a_name_that_no_repository_can_have():
    refused(ValueError, "`source` hf-hub:a/b/c is not a repository's name", source="a/b/c")


def test_a_repository_without_a_configuration(hub: Server, tmp_path: Path):
    publish(hub, {"model.safetensors": written(tmp_path)}, config=None)
    refused(FileNotFoundError, "has no config.json")


def test_a_repository_without_weights(hub: Server):
    publish(hub, {})
    refused(FileNotFoundError, r"has none of model\.safetensors, .*pytorch_model\.bin")


@pytest.mark.parametrize(
    "method,message", [("HEAD ", "out of reach or refuses it"), ("GET ", "cannot be fetched")]
)
def test_a_file_that_the_hub_does_not_hand_out(method: str, message: str, hub: Server):
    publish(hub, {})
    hub.responses[f"{method}/{REPOSITORY}/resolve/main/config.json"] = (403, {}, b"")
    refused(ConnectionError, f"`source` hf-hub:{REPOSITORY}: config.json .*{message}")


def test_offline_mode_without_a_cache(hub: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(ConnectionError, "config.json is not in the cache, and offline mode is on")
    assert hub.requests == []


def test_offline_mode_with_half_a_cache(hub: Server, monkeypatch: pytest.MonkeyPatch):
    publish(hub, {})
    huggingface_hub.hf_hub_download(REPOSITORY, "config.json")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(ConnectionError, "model.safetensors is not in the cache, and offline mode is on")


def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    point_to(f"http://127.0.0.1:{port}", monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client tries for 20 seconds
    refused(ConnectionError, "config.json is not in the cache, and the Hub is out of reach")


def test_without_the_client(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused(ImportError, r"pip install 'flaxblocks\[hub\]'")


def test_a_truncated_file_on_the_hub(hub: Server, tmp_path: Path):
    publish(hub, {"model.safetensors": written(tmp_path)[:-1]})
    refused(ValueError, "`source` is damaged or not a safetensors file")
