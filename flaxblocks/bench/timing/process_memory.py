"""The process's resident memory, on Linux."""

import re
from pathlib import Path

STATUS = Path("/proc/self/status")


def resident() -> int | None:
    """Return the resident bytes; None on other systems."""
    return _field("VmRSS")


def peak() -> int | None:
    """Return the peak of the resident bytes since `forget_peak`."""
    return _field("VmHWM")


def forget_peak() -> None:
    """Reset the peak to the resident bytes."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def _field(name: str) -> int | None:
    if not STATUS.exists():
        return None
    found = re.search(rf"^{name}:\s*(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    return None if found is None else 1024 * int(found[1])
