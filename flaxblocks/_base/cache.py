"""The cache folder for downloads and compiled kernels."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return where downloads and compiled kernels are kept.

    It is ``$FLAXBLOCKS_CACHE``, or else ``flaxblocks`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.
    """
    if own := os.environ.get("FLAXBLOCKS_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flaxblocks"
