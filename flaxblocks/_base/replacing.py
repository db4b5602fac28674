"""Writing a file whole or not at all."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """Give a temporary path that takes the place of `path` when the block ends without an error.

    Until then, and after an error, what was at `path` stays as it was.

    Raises:
        OSError: if the folder does not exist or cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    temporary.touch()
    mode = temporary.stat().st_mode  # the user's default; some writers make files private
    try:
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
