"""What a pickle asks for, read without running it.

PyTorch's own reader runs no code, but it does call a few of Python's and its own types with
whatever arguments a file gives: some of these fill the memory, or take forever.
"""

import pickletools
from collections.abc import Iterator
from io import BytesIO
from mmap import mmap
from typing import Any, NamedTuple

from flaxblocks.weights.arrays import shown

FILLS_MEMORY = "builtins bytearray"
"""Of what PyTorch lets a pickle call: it writes as many zeros as it is told."""

MOST_PARTS = 1 << 20
"""Of a tuple with the tuples in it, each counted as often as it stands there: hashing it, as the
keys of tables are, or printing it goes through all of them."""


class Refused(ValueError):
    """What a file is that is not damaged, and is not read; the message goes on after its name."""


class _Item(NamedTuple):
    """What is on the stack: how many parts it has, and its value where that is text or a number."""

    parts: int = 1
    value: Any = None


def check_pickle(file: BytesIO | mmap) -> list[Any]:
    """Read a pickle to its end, without running it.

    Returns:
        What it says about each array that is kept outside of it: PyTorch's tuples of ``"storage"``,
        the kind, the name, the device and the length.

    Raises:
        Refused: if it asks for what would fill the memory, or nests tuples without end.
        ValueError: if it is damaged.
    """
    stack: list[_Item | None] = []
    memo: dict[Any, _Item | None] = {}
    outside: list[Any] = []
    for code, argument, _ in pickletools.genops(file):  # pyright: ignore[reportArgumentType]
        if code.name == "GLOBAL" and argument == FILLS_MEMORY:
            raise Refused(asks_for(FILLS_MEMORY.replace(" ", ".")))
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1] if stack else _Item()
            continue
        taken = list(_taken(code, stack))[::-1]
        if code.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(argument, _Item()))
        elif code.name == "DUP":
            stack += taken * 2
        elif code.name.startswith("TUPLE"):
            parts = 1 + sum(item.parts for item in taken)
            if parts > MOST_PARTS:
                raise Refused("holds tuples that nest others without end")
            stack.append(_Item(parts, tuple(item.value for item in taken)))
        else:
            outside += [item.value for item in taken if code.name == "BINPERSID"]
            marks = (kind is pickletools.markobject for kind in code.stack_after)
            stack += [_MARK if mark else _Item(value=argument) for mark in marks]
    return outside


def asks_for(name: str) -> str:
    """Return what is said of a file with a pickle that asks for more than tensors and values."""
    return (
        f"asks for {shown(name)}: refused, and nothing in it was run; it must hold tensors and "
        "plain values only"
    )


_MARK = None


def _taken(code: pickletools.OpcodeInfo, stack: list[_Item | None]) -> Iterator[_Item]:
    """Take what an operation takes from the stack, and yield it, the last first."""
    before = code.stack_before
    if pickletools.markobject in before:
        while stack and (item := stack.pop()) is not None:
            yield item
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        if stack and (item := stack.pop()) is not None:
            yield item
