"""Weights from a file, an address or the Hugging Face Hub, and into a file."""

import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import nnx

from flaxblocks._base import checks
from flaxblocks.weights import download, hub, safetensors_files, torch_files
from flaxblocks.weights.card import CARD, read_card
from flaxblocks.weights.hub_config import check_config
from flaxblocks.weights.legacy_names import in_todays_names
from flaxblocks.weights.origin import TORCHVISION, torchvision_weights
from flaxblocks.weights.prefixes import without_prefixes
from flaxblocks.weights.state_dict import (
    known_entries,
    load_state_dict,
    named_entries,
    state_dict,
)


def load_weights(
    module: nnx.Module,
    source: str | os.PathLike[str],
    names: str | None = None,
    *,
    new_head: bool = False,
    adapt_stem: bool = False,
    key: str | None = None,
    dtype: jnp.dtype | type | None = None,
) -> None:
    """Load weights into the module, in place: all of them or none.

    What `source` may be:

    - a ``.safetensors`` file, or the ``.safetensors.index.json`` of several. PyTorch is not
      needed, and one tensor at a time is read from the mapped file, so that an abstract module
      (`nnx.eval_shape`) gets its weights with hardly more memory than they take;
    - the folder of a finished run, which `flaxblocks train` left;
    - a ``.pth``, ``.pt``, ``.bin``, ``.ckpt`` or ``.pth.tar`` file of `torch.save`. A pickle in it
      that asks for anything but tensors and plain values is refused and not run;
    - ``"torchvision:resnet50/IMAGENET1K_V2"``, weights that torchvision publishes;
    - an ``https://`` address whose file name ends in a hash, ``...-11ad3fa6.pth``, which the
      download is checked against. Downloads are kept in ``$FLAXBLOCKS_CACHE``, or else in
      ``~/.cache/flaxblocks``;
    - ``"hf-hub:timm/resnet50.a1_in1k"``, with ``@revision`` or without, a repository of timm's
      kind on the Hugging Face Hub. The client's own cache and environment variables hold
      (``HF_HOME``, ``HF_HUB_OFFLINE=1``), and its `config.json` must be of this very network;
      or a folder that is laid out as such a repository, as `save_pretrained` writes it.

    >>> import tempfile
    >>> conv, twin = (fb.Conv(3, 8, 3, rngs=nnx.Rngs(seed)) for seed in (0, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = fb.save_weights(conv, f"{folder}/conv.safetensors")
    ...     fb.load_weights(twin, path)
    >>> bool((conv.kernel[...] == twin.kernel[...]).all())
    True

    Args:
        module: the module that receives them; may be abstract, and then has no random streams
            for dropout until ``nnx.reseed(module, default=0)``.
        source: where they are.
        names: whose parameter names they have, see `state_dict`; where absent the names tell.
        new_head: whether a network keeps its own classifier, see `load_state_dict`.
        adapt_stem: whether a stem that reads RGB is adapted, see `load_state_dict`.
        key: where in a checkpoint of `torch.save` the state dict is. Absent, it is the whole
            checkpoint, or its ``state_dict``, ``model``, ``state_dict_ema`` or ``model_ema``
            where it has one of them only.
        dtype: dtype that the floating point variables get; each keeps its own where absent,
            whatever the file's.

    Raises:
        ConnectionError: if a server is out of reach, or offline mode is on and it is not cached.
        FileNotFoundError: if there is nothing at `source`.
        ImportError: if the kind of source needs a package that is not installed.
        IsADirectoryError: if `source` is a folder, and not a run's.
        ValueError: if the file is damaged, holds code, is not what was published, or does not fit
            (see `load_state_dict`); or an argument has a value that is not listed here. In every
            case the module is unchanged.
    """
    if hub.is_repository(source):
        config = hub.read_config(source)
        check_config(module, config, new_head=new_head, adapt_stem=adapt_stem)
    tensors, names = read_weights(module, source, names, key)
    load_tensors(
        module, source, tensors, names, new_head=new_head, adapt_stem=adapt_stem, dtype=dtype
    )


def read_weights(
    module: nnx.Module,
    source: str | os.PathLike[str],
    names: str | None = None,
    key: str | None = None,
) -> tuple[Mapping[str, Any], str]:
    """Return the tensors at a source by name, and whose names those are.

    Args:
        module: the module that they are for; may be abstract.
        source: where they are, see `load_weights`.
        names: whose they are; where absent, those of `NAMES` that share most with the tensors.
        key: see `load_weights`.
    """
    known = known_entries(module) if names is None else {names: named_entries(module, names)}
    tensors = in_todays_names(_read(_local(source), key))
    tensors = without_prefixes(tensors, set(chain.from_iterable(known.values())))
    return tensors, max(known, key=lambda names: len(known[names].keys() & tensors.keys()))


def load_tensors(
    module: nnx.Module,
    source: str | os.PathLike[str],
    tensors: Mapping[str, Any],
    names: str,
    **options: Any,
) -> None:
    """Load what `read_weights` returned, as `load_state_dict` does; errors name the source."""
    try:
        load_state_dict(module, tensors, names, **options)
    except ValueError as error:
        raise ValueError(f"`source` {os.fspath(source)}: {error}") from error


def torch_state_dict(module: nnx.Module, names: str = "native") -> dict[str, Any]:
    """Return the module's weights as PyTorch's own modules load them.

    >>> network = torchvision.models.mnasnet1_0()  # doctest: +SKIP
    >>> network.load_state_dict(fb.torch_state_dict(model, "torchvision"))  # doctest: +SKIP

    Args:
        module: any NNX module.
        names: whose parameter names to use, see `state_dict`.

    Returns:
        PyTorch's tensors by name, with the version of their layout, for which MNASNet asks.

    Raises:
        ImportError: if PyTorch is not installed.
        ValueError: see `state_dict`.
    """
    return torch_files.as_state_dict(state_dict(module, names), "torch_state_dict")


def save_weights(
    module: nnx.Module,
    path: str | os.PathLike[str],
    names: str = "native",
    *,
    dtype: jnp.dtype | type | None = None,
    max_shard_size: int | None = None,
) -> Path:
    """Write the module's weights to a file, which PyTorch's libraries read too.

    The file appears when it is complete; after an error, what was there is unchanged.

    >>> import tempfile
    >>> conv = fb.Conv(3, 8, 3, rngs=nnx.Rngs(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fb.save_weights(conv, f"{folder}/conv.safetensors", max_shard_size=800).name
    'conv.safetensors.index.json'

    Args:
        module: any NNX module.
        path: where to; ``.safetensors``, or one of `torch.save`'s, which need PyTorch.
        names: whose parameter names to write, see `state_dict`.
        dtype: dtype of the floating point tensors; each keeps its own where absent.
        max_shard_size: bytes per file above which ``.safetensors`` are split into
            ``name-00001-of-00002.safetensors``, ... with a ``name.safetensors.index.json``.

    Returns:
        The file for `load_weights`: `path`, or the index where there are several.

    Raises:
        FileNotFoundError: if the folder of `path` does not exist.
        ImportError: if the suffix needs PyTorch, and it is not installed.
        IsADirectoryError: if `path` is a folder.
        OSError: if the file cannot be written.
        ValueError: if the suffix is not listed here; `names` is unknown or has none for this
            kind of module; or `max_shard_size` is not a positive integer, or not for this suffix.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"`path` must name a file, {path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"`path` is in a folder that does not exist: {path.parent}")
    if not path.name.endswith((safetensors_files.SUFFIX, *torch_files.SUFFIXES)):
        raise ValueError(f"`path` must end in {_endings(safetensors_files.SUFFIX)}, got {path}")
    in_torch_file = path.suffix != safetensors_files.SUFFIX
    if max_shard_size is not None:
        checks.positive_int("max_shard_size", max_shard_size)
        if in_torch_file:
            raise ValueError(f"`max_shard_size` is for .safetensors, `path` is {path}")
    tensors = state_dict(module, names, dtype=dtype)
    if in_torch_file:
        torch_files.write(path, tensors)
        return path
    return safetensors_files.write(path, tensors, max_shard_size)


def _local(source: str | os.PathLike[str]) -> Path:
    """Return the file at `source`, which is fetched if it is elsewhere."""
    if hub.is_repository(source):
        return hub.fetch_weights(source)
    if isinstance(source, str):
        if source.startswith(TORCHVISION):
            return download.fetch(torchvision_weights(source).source)
        if source.startswith(download.SCHEMES):
            return download.fetch(source)
    path = Path(source)
    if path.is_dir():
        if not (path / CARD).exists():
            raise IsADirectoryError(
                f"`source` must be a file or a finished run's folder, {path} has no {CARD}"
            )
        path /= read_card(path).weights
    if not path.exists():
        raise FileNotFoundError(f"`source` does not exist: {path}")
    return path


def _read(path: Path, key: str | None) -> Mapping[str, Any]:
    if path.name.endswith(torch_files.SUFFIXES):
        return torch_files.read(path, key)
    if key is not None:
        raise ValueError(f"`key` is for checkpoints of torch.save, got {key!r} for {path}")
    if path.name.endswith(safetensors_files.INDEX_SUFFIX):
        return safetensors_files.read_sharded(path)
    if path.suffix == safetensors_files.SUFFIX:
        return safetensors_files.read(path)
    known = _endings(safetensors_files.SUFFIX, safetensors_files.INDEX_SUFFIX)
    raise ValueError(f"`source` must end in {known}, got {path}")


def _endings(*safetensors: str) -> str:
    return ", ".join((*safetensors, *torch_files.SUFFIXES))
