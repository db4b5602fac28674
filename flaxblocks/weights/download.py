"""Weights from an address that holds their hash, kept in a cache."""

import hashlib
import re
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from flaxblocks._base.cache import cache_folder
from flaxblocks._base.replacing import replacing

SCHEMES = ("https://", "http://")

TIMEOUT = 30
"""Seconds that a server may be silent."""

_HASHED = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def fetch(url: str) -> Path:
    """Return the file at an address, from the cache where it was fetched before.

    The hash is checked every time, and a file that does not have it is removed.

    Args:
        url: an address whose file name ends in the first 8 or more hexadecimal digits of the
            file's SHA-256, as torchvision's and timm's do: ``resnet50-11ad3fa6.pth``.

    Raises:
        ConnectionError: if the server cannot be reached or breaks off.
        FileNotFoundError: if the server has no such file.
        OSError: if the cache cannot be written.
        ValueError: if the address holds no hash, or the file does not have it.
    """
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    found = _HASHED.search(name)
    if found is None:
        raise ValueError(
            "`source` must end in a hash that the file can be checked against, as in "
            f"name-0123abcd.pth, got {url}; download it yourself and give the path"
        )
    path = cache_folder() / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            _download(url, temporary)
            _check(temporary, found[1], url)
    else:
        _check(path, found[1], url)
    return path


def _download(url: str, path: Path) -> None:
    with path.open("wb") as file:
        for chunk in _chunks(url):
            file.write(chunk)


def _chunks(url: str) -> Iterator[bytes]:
    request = Request(url, headers={"User-Agent": "flaxblocks"})
    try:
        with urlopen(request, timeout=TIMEOUT) as response:
            while chunk := response.read(1 << 20):
                yield chunk
    except HTTPError as error:
        error.close()
        if error.code in (403, 404, 410):  # a storage bucket says 403 where there is nothing
            raise FileNotFoundError(f"`source` does not exist: {url} ({error})") from error
        raise ConnectionError(f"`source` cannot be fetched: {url} ({error})") from error
    except (HTTPException, OSError) as error:
        raise ConnectionError(f"`source` cannot be reached: {url} ({error})") from error


def _check(path: Path, digits: str, url: str) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(digits):
        path.unlink()
        raise ValueError(
            f"`source` is not what it was published as: {url} should have a SHA-256 of "
            f"{digits}..., got {digest[: len(digits)]}...; the file was removed"
        )
