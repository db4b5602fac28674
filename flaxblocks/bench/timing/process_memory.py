"""How much memory the process holds, as Linux tells it."""

import re
from pathlib import Path

STATUS = Path("/proc/self/status")


def resident() -> int | None:
    """Return the bytes that are in memory now; None where the system does not tell."""
    return _field("VmRSS")


def peak() -> int | None:
    """Return the most that were in memory at once since `forget_peak`."""
    return _field("VmHWM")


def forget_peak() -> None:
    """Let the peak start anew from what is in memory now."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def _field(name: str) -> int | None:
    if not STATUS.exists():
        return None
    found = re.search(rf"^{name}:\s*(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    return None if found is None else 1024 * int(found[1])
