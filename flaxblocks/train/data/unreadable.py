"""Images that cannot be read: reported once each, and an error when they are too many."""

import threading


class UnreadableImages:
    """Collects images that cannot be read; threads may share it.

    >>> unreadable = UnreadableImages(total=100)
    >>> unreadable.add("cat/17.jpg", "it is truncated")
    >>> unreadable.new(), unreadable.new(), unreadable.count
    ([('cat/17.jpg', 'it is truncated')], [], 1)

    Args:
        total: number of images. More than half of them unreadable is an error.
    """

    def __init__(self, total: int):
        self.total = total
        self._found: dict[str, str] = {}
        self._reported = 0
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Number of different images that could not be read."""
        return len(self._found)

    def add(self, name: str, reason: str) -> None:
        """Add an image; a second time it counts nothing.

        Raises:
            ValueError: if more than half of the images cannot be read.
        """
        with self._lock:
            self._found.setdefault(name, reason)
            if 2 * len(self._found) > self.total:
                raise ValueError(
                    f"{len(self._found)} of {self.total} images cannot be read, such as {name}: "
                    f"{reason}"
                )

    def new(self) -> list[tuple[str, str]]:
        """Return the names and reasons of the images added since the last call."""
        with self._lock:
            found = list(self._found.items())[self._reported :]
            self._reported = len(self._found)
        return found
