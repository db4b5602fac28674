"""The cache folder for downloads and compiled kernels."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return where downloads and compiled kernels are kept.

    It is ``$FLAXBLOCKS_CACHE``, or else ``flaxblocks`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        OSError: if it is in a home folder and there is none.
    """
    try:
        if own := os.environ.get("FLAXBLOCKS_CACHE"):
            return Path(own).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flaxblocks"
    except RuntimeError as error:
        raise OSError(
            f"there is no home folder for a cache: {error}; name a folder in $FLAXBLOCKS_CACHE"
        ) from error
