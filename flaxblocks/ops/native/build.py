"""Where the kernels' libraries are: in the package, or compiled once into the cache."""

import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from flaxblocks._base.cache import cache_folder
from flaxblocks.ops.native.compiling import (
    SOURCES,
    Level,
    compile_libraries,
    find_compiler,
    levels,
    library_name,
    supported,
)

PACKAGE = SOURCES / "built"
DIGEST = 32  # bytes of SHA-256 behind a cached library's own
OFF = "off"


class Library(NamedTuple):
    """A level's kernels, compiled."""

    level: Level
    path: Path


def usable() -> tuple[Level, ...]:
    """Return the levels that may be used, the best first.

    They are those that the processor has, or the one that ``$FLAXBLOCKS_KERNELS`` names, or none
    where that is ``off``.

    Raises:
        ValueError: if it names something else, or a level that the processor lacks.
    """
    own = os.environ.get("FLAXBLOCKS_KERNELS")
    if not own:
        return supported()
    if own == OFF:
        return ()
    here = {level.name: level for level in supported()}
    if own not in here:
        raise ValueError(
            f"`$FLAXBLOCKS_KERNELS` must be {', '.join((OFF, *here))} on this processor, got {own}"
        )
    return (here[own],)


def find() -> Library | None:
    """Return the best library that is there."""
    libraries = (find_level(level) for level in usable())
    return next((library for library in libraries if library is not None), None)


def find_level(level: Level) -> Library | None:
    """Return a level's library, from the package or else from the cache."""
    packaged, cached = PACKAGE / library_name(level), _cached(level)
    if packaged.exists():
        return Library(level, packaged)
    if cached is not None and _is_whole(cached):
        return Library(level, cached)
    return None


def library() -> Library:
    """Return the best library that is there, compiled now where there is none.

    Raises:
        RuntimeError: if none may be used here; there is no compiler, or it fails; the cache cannot
            be written.
    """
    found = find()
    if found is not None:
        return found
    if not usable():
        why = "`$FLAXBLOCKS_KERNELS` is off" if levels() else "there are none for this machine"
        raise RuntimeError(f"the native kernels cannot be used: {why}")
    return build(usable()[0])


def build(level: Level) -> Library:
    """Compile a level's library into the cache, unless another process just did.

    Raises:
        RuntimeError: if there is no compiler, it fails, or the cache cannot be written.
    """
    compiler = find_compiler()
    try:
        path = cache_folder() / _name(level)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.parent):
            if not _is_whole(path):
                _compile(compiler, level, path)
    except OSError as error:
        raise RuntimeError(
            f"the native kernels cannot be kept in the cache: {error}; "
            "name a folder that can be written in $FLAXBLOCKS_CACHE"
        ) from error
    return Library(level, path)


def _compile(compiler: list[str], level: Level, path: Path) -> None:
    with TemporaryDirectory(dir=path.parent, prefix="new-") as folder:
        (made,) = compile_libraries(compiler, [level], Path(folder))
        with made.open("r+b") as file:
            digest = hashlib.sha256(file.read()).digest()
            file.write(digest)  # the loader does not look behind the library's end
        made.replace(path)


def _name(level: Level) -> Path:
    return Path(f"kernels-jaxlib-{version('jaxlib')}", library_name(level))


def _cached(level: Level) -> Path | None:
    """Return where a level's library is kept, None where there is no home to keep it in."""
    try:
        return cache_folder() / _name(level)
    except OSError:
        return None


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Let one process at a time compile."""
    import fcntl  # not on Windows, where there are no kernels

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_whole(path: Path) -> bool:
    """Return whether the file is there and what was written: loading half of one ends a process."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(data[:-DIGEST]).digest() == data[-DIGEST:]
