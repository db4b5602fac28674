"""Weights on the Hugging Face Hub, through its own client and cache, or in a folder like there."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from flaxblocks._base.json_files import read_table
from flaxblocks.weights.arrays import shown
from flaxblocks.weights.safetensors_files import weight_map

SCHEME = "hf-hub:"

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
FILES = ("model.safetensors", INDEX, "pytorch_model.bin")
"""What a repository's weights may be in, the best first."""

KINDS: Mapping[str, tuple[type, ...]] = {
    "architecture": (str,),
    "model_args": (dict,),
    "pretrained_cfg": (dict,),
    "num_classes": (int,),
    "label_names": (list, dict),
}
"""What may stand in a `config.json`, of what is read of it."""


def is_repository(source: str | os.PathLike[str]) -> bool:
    """Return whether weights are on the Hub, or in a folder that is laid out as there."""
    return os.fspath(source).startswith(SCHEME) or (Path(source) / CONFIG).is_file()


def read_config(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a repository's `config.json`.

    Args:
        source: ``hf-hub:owner/name``, with ``@revision`` or without, or a folder.

    Raises:
        ConnectionError: if it is not in the cache, and the Hub is out of reach or not to be asked,
            or does not hand it out.
        FileNotFoundError: if there is no such repository, revision or file.
        ImportError: if huggingface_hub is not installed.
        ValueError: if it is not JSON, or `source` cannot be a repository's name.
    """
    path = _file(source, CONFIG)
    try:
        config = read_table(path)
    except ValueError as error:
        raise ValueError(f"`source` {source} has a damaged config.json ({error})") from error
    for name, kinds in KINDS.items():
        if not isinstance(config.get(name), (*kinds, NoneType)):
            raise ValueError(
                f"`source` {source} has a config.json whose {name} is no "
                f"{kinds[0].__name__}: {shown(str(config[name]))}"
            )
    return {name: value for name, value in config.items() if value is not None}


def fetch_weights(source: str | os.PathLike[str]) -> Path:
    """Return a repository's weights, from the Hub or the cache: a file, or the index of several.

    Args:
        source: see `read_config`.

    Raises:
        ConnectionError: if they are not in the cache, and the Hub is out of reach or not to be
            asked, or does not hand them out.
        FileNotFoundError: if the repository has none of the files that weights are in.
    """
    missing: list[OSError] = []
    for name in FILES:
        try:
            path = _file(source, name)
        except (FileNotFoundError, ConnectionError) as error:
            missing.append(error)
            continue
        if name == INDEX:
            for shard in sorted(set(weight_map(path).values())):
                _file(source, shard)
        return path
    unreachable = [error for error in missing if isinstance(error, ConnectionError)]
    if unreachable:
        raise unreachable[0]
    raise FileNotFoundError(f"`source` {source} has none of {', '.join(FILES)}")


def _file(source: str | os.PathLike[str], name: str) -> Path:
    """Return a file of a repository."""
    text = os.fspath(source)
    if text.startswith(SCHEME):
        return _download(text, name)
    path = Path(text) / name
    if not path.is_file():
        raise FileNotFoundError(f"`source` {text} has no {name}")
    return path


def _download(source: str, name: str) -> Path:
    hub = _client()
    repository, _, revision = source.removeprefix(SCHEME).partition("@")
    try:
        return Path(hub.hf_hub_download(repository, name, revision=revision or None))
    except hub.errors.LocalEntryNotFoundError as error:
        offline = hub.constants.HF_HUB_OFFLINE
        why = "offline mode is on" if offline else "the Hub is out of reach or refuses it"
        raise ConnectionError(
            f"`source` {source}: {name} is not in the cache, and {why}"
        ) from error
    except hub.errors.EntryNotFoundError as error:
        raise FileNotFoundError(f"`source` {source} has no {name}") from error
    except hub.errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"`source` {source} has no such revision") from error
    except hub.errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"`source` {source} does not exist, or is not for you to see"
        ) from error
    except hub.errors.HfHubHTTPError as error:
        raise ConnectionError(f"`source` {source}: {name} cannot be fetched ({error})") from error
    except hub.errors.HFValidationError as error:
        raise ValueError(f"`source` {source} is not a repository's name: {error}") from error


def _client() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants  # pyright: ignore[reportUnusedImport]
        import huggingface_hub.errors  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise ImportError(
            "`source` is on the Hugging Face Hub: pip install 'flaxblocks[hub]'"
        ) from error
    return huggingface_hub
