"""The images that could not be read: counted and named, and no reason to stop until many are."""

import threading


class UnreadableImages:
    """Collects images that could not be read; threads may share it.

    >>> damage = UnreadableImages(images=100)
    >>> damage.add("cat/17.jpg", "it is truncated")
    >>> damage.new(), damage.new(), damage.count
    ([('cat/17.jpg', 'it is truncated')], [], 1)

    Args:
        images: how many there are. Where more than half of them are damaged, something else is
            wrong, and adding another one is an error.
    """

    def __init__(self, images: int):
        self.images = images
        self._found: dict[str, str] = {}
        self._told = 0
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many different images could not be read."""
        return len(self._found)

    def add(self, name: str, reason: str) -> None:
        """Note an image that cannot be read; a second time it is the same one.

        Raises:
            ValueError: if that is true of more than half of the images.
        """
        with self._lock:
            self._found.setdefault(name, reason)
            if 2 * len(self._found) > self.images:
                raise ValueError(
                    f"{len(self._found)} of {self.images} images cannot be read, such as {name}: "
                    f"{reason}"
                )

    def new(self) -> list[tuple[str, str]]:
        """Return the names and reasons of what was found since the last call."""
        with self._lock:
            found = list(self._found.items())[self._told :]
            self._told = len(self._found)
        return found
