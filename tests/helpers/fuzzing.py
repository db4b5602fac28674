"""Files that somebody broke or made to do harm: mutations by a seed, and what they may do."""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HARM = ("os.", "subprocess.", "shutil.", "socket.", "pty.", "ctypes.", "webbrowser.", "exec")
HARMLESS = ("os.listdir", "os.scandir", "os.walk", "socket.__new__")  # asyncio's own pair of them
SECONDS = 20  # of processor time that a file may take
MEMORY = 1 << 30  # bytes beyond what the process has
SENTENCE = 2000  # letters of an error
REFUSALS = (ValueError, OSError)
"""What a file may be answered with; for the command line a TypeError would be one line too."""

_watched: list[tuple[str, bool]] = []
_seen: list[str] = []


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with one to eight bits turned, most of them near one end."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        place = int(len(data) * rng.random() ** rng.integers(1, 5))
        place = len(data) - 1 - place if rng.random() < 0.3 else min(place, len(data) - 1)
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes without their end, their start or a piece in between."""
    first, last = sorted(int(n) for n in rng.integers(0, len(data) + 1, 2))
    return (data[:first], data[last:], data[:first] + data[last:])[rng.integers(3)]


def spliced(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with some repeated, or with noise or ones in between."""
    first, last = sorted(int(n) for n in rng.integers(0, len(data), 2))
    last = min(last, first + 300)
    piece = (data[first:last], rng.bytes(last - first), b"\xff" * 8)[rng.integers(3)]
    return data[:first] + piece + data[first if rng.random() < 0.5 else last :]


BYTES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (flipped, cut, spliced)

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 2**31, 2**63, 2**64, 10**30, 0.5, 1e308, -1.5),
    *("", "x", "..", "../../secret", "/etc/passwd", "a\0b", "\n\x1b[31m", "x" * 5000, "resnet18"),
    *([], {}, [1, 2], [[]], {"a": 1}, [3, 10**9, 10**9], ["x"] * 3, [0.5, None, 0.5]),
)


def odd_json(content: Any, rng: np.random.Generator) -> bytes:
    """Return a table with one value replaced, dropped, or added, or wrapped without end."""
    text = json.loads(json.dumps(content))
    holder: Any = text
    while True:
        places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not places:
            break
        place = places[rng.integers(len(places))]
        inner = holder[place]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.6:
            holder = inner
            continue
        kind = rng.integers(8)
        if kind == 0:
            del holder[place]
        elif kind == 1 and isinstance(holder, dict):
            holder[str(ODD[14 + rng.integers(8)])] = inner
        elif kind == 2:
            depth = int(rng.integers(2, 200_000))
            marked = json.dumps(text | {"@": "@"}) if isinstance(text, dict) else json.dumps(text)
            return marked.replace('"@"}', "[" * depth + "]" * depth + "}").encode()
        elif kind == 3:
            return json.dumps(text).replace("1", "NaN", 1).encode()
        else:
            holder[place] = ODD[rng.integers(len(ODD))]
        break
    return json.dumps(text).encode()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with one of the mutations of `BYTES`."""
    return BYTES[rng.integers(len(BYTES))](data, rng) if data else b"\0"


@contextmanager
def watched(folder: Path, writes: bool = False) -> Iterator[None]:
    """Fail where the block runs something, writes, or reads beyond a folder and Python's own files.

    It may take `SECONDS`, and `MEMORY` more than before, and write to the folder if `writes`.
    """
    _hook()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGPROF, _too_slow)
    _seen.clear()
    _watched.append((str(folder), writes))
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        _watched.clear()
        signal.signal(signal.SIGPROF, before)
    assert _seen == [], _seen


def outcome(load: Callable[[], Any], folder: Path, writes: bool = False) -> str:
    """Return ``"loaded"``, or the sentence that a file is refused with; fail for anything else."""
    try:
        with watched(folder, writes):
            load()
    except REFUSALS as error:
        text = str(error)
        assert type(error) in (ValueError, FileNotFoundError, IsADirectoryError, OSError), error
        assert 10 < len(text) <= SENTENCE and len(text.splitlines()) <= 20, text
        assert "\x1b" not in text and "Traceback" not in text, text
        return text
    return "loaded"


def _too_slow(*_: object) -> None:
    raise AssertionError(f"a file took more than {SECONDS} s of processor time")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    folder, may_write = _watched[0]
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, int) or not isinstance(path, str | bytes):
            return
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) or bool(mode and set(mode) & set("wax+"))
        name = os.path.abspath(os.fsdecode(path))
        writes = writes and not (may_write and name.startswith(folder))
        own = (folder, sys.prefix, sys.base_prefix, "/proc/", "/sys/", "/usr/", "/dev/")
        own = (*own, str(Path(__file__).parents[2]))
        if writes or not name.startswith(own):
            _seen.append(f"{event} {name} {mode}")
    elif event.startswith(HARM) and not event.startswith(HARMLESS):
        if event == "exec" and _is_of_a_file(arguments[0]):
            return
        path = str(arguments[0])  # not absolute: below a folder that is open
        if may_write and (path.startswith(folder) or not path.startswith("/")):
            return
        _seen.append(f"{event} {arguments}")


def _is_of_a_file(code: Any) -> bool:
    """Return whether a piece of code is that of a module, which is imported on first use."""
    name = getattr(code, "co_filename", "")
    return name.startswith(("/", "<frozen", "<string>", "<__array_function__", "<@beartype"))


_hooked: list[bool] = []


def _hook() -> None:
    """Listen to what Python does; a hook stays until the process ends."""
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked.append(True)
