"""Reshapes whose sizes were written down, on an array that has other sizes now."""

from collections.abc import Sequence
from math import prod

RESHAPES = {"reshape", "view"}


def resized(sizes: Sequence[int], before: Sequence[int], now: Sequence[int]) -> list[int]:
    """Return what a reshape would ask for, had the array these sizes when it was written.

    Neighboring axes are joined or split in groups; of a group that grew, the first that can.

    Args:
        sizes: what it asks for; -1 is what remains.
        before: the array's sizes when it ran.
        now: its sizes now, of as many axes.
    """
    rest = prod(before) // max(prod(size for size in sizes if size != -1), 1)
    wanted = [rest if size == -1 else size for size in sizes]
    found: list[int] = []
    start = stop = 0
    while start < len(before):
        end, first = start + 1, stop
        while prod(before[start:end]) != prod(wanted[first:stop]) or stop == first:
            if prod(before[start:end]) > prod(wanted[first:stop]) or stop == first:
                stop += 1
            else:
                end += 1
            if stop > len(wanted) or end > len(before):
                return list(sizes)
        found += _grown(wanted[first:stop], before[start:end], now[start:end])
        start = end
    return [*found, *wanted[stop:]]


def _grown(group: Sequence[int], before: Sequence[int], now: Sequence[int]) -> list[int]:
    if list(group) == list(before):
        return list(now)
    total, old = prod(now), prod(before)
    at = next((i for i, size in enumerate(group) if size * total % old == 0), 0)
    return [size * total // old if i == at else size for i, size in enumerate(group)]
