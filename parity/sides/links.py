"""Which part of a PyTorch tensor is which part of a JAX one, where that is more than a name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod
from typing import Any, cast

import numpy as np

Rows = tuple[int, int]
Names = dict[str, Any]
"""Native names by PyTorch's. A tensor that is laid out otherwise has a dictionary in place of a
name: ``name``, and ``reshape``, ``transpose``, ``rows``, ``adds``; see `Link`. A part of PyTorch's
tensor is called by its rows: ``in_proj_weight[0:64]``."""

_PART = re.compile(r"(.*)\[(\d+):(\d+)\]")
_KEYS = ("name", "reshape", "transpose", "rows", "adds")


@dataclass(frozen=True)
class Link:
    """One tensor's place in another.

    Args:
        theirs: PyTorch's tensor.
        native: JAX's, in PyTorch's layout.
        their_rows: the rows of PyTorch's tensor that are meant; all where absent.
        rows: those of JAX's that they become; all where absent.
        reshape: the shape into which they are brought first.
        transpose: the order of the axes into which they are brought then.
        adds: whether they are added to what other links put there, as PyTorch's second bias of a
            recurrent layer is.
    """

    theirs: str
    native: str
    their_rows: Rows | None = None
    rows: Rows | None = None
    reshape: tuple[int, ...] | None = None
    transpose: tuple[int, ...] | None = None
    adds: bool = False

    @classmethod
    def of(cls, theirs: str, native: Any) -> "Link":
        """Return what an entry of `Names` says.

        Raises:
            ValueError: if it is neither a name nor such a dictionary.
        """
        part = _PART.fullmatch(theirs)
        name, their_rows = (part[1], (int(part[2]), int(part[3]))) if part else (theirs, None)
        if isinstance(native, str):
            return cls(name, native, their_rows)
        said = cast(Mapping[str, Any], native if isinstance(native, Mapping) else {})
        if "name" not in said or {*said} - {*_KEYS}:
            raise ValueError(
                f"`names` must have a name, or a dictionary of {', '.join(_KEYS)}, for each "
                f"tensor, got {native!r} for {theirs}"
            )
        for key in (key for key in _KEYS[1:-1] if key in said):
            numbers = cast(
                Sequence[Any], said[key] if isinstance(said[key], list | tuple) else ("",)
            )
            if any(type(number) is not int for number in numbers):
                raise ValueError(
                    f"`names`: {key} must be a list of integers, got {said[key]!r} for {theirs}"
                )
        more: dict[str, Any] = {key: tuple(said[key]) for key in _KEYS[1:-1] if key in said}
        return cls(name, said["name"], their_rows, **more, adds=bool(said.get("adds")))

    @property
    def entry(self) -> tuple[str, Any]:
        """The entry of `Names` that says this."""
        part = "" if self.their_rows is None else "[{}:{}]".format(*self.their_rows)
        more = {"reshape": self.reshape, "transpose": self.transpose, "rows": self.rows}
        said: dict[str, Any] = {k: list(value) for k, value in more.items() if value is not None}
        said |= {"adds": True} if self.adds else {}
        return self.theirs + part, {"name": self.native, **said} if said else self.native

    @property
    def is_whole(self) -> bool:
        """Whether it is one tensor for one."""
        return self.their_rows is None and self.rows is None and not self.adds

    def check(
        self, theirs: Mapping[str, tuple[int, ...]], ours: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Check that it fits tensors of these shapes, by name.

        Raises:
            ValueError: if it does not.
        """
        for side, name, shapes in (("PyTorch", self.theirs, theirs), ("JAX", self.native, ours)):
            if name not in shapes:
                near = near_to(name, shapes)
                raise ValueError(f"`names`: {side} has no tensor {name!r}{near}")
        shape = _of_rows(theirs[self.theirs], self.their_rows)
        into = shape if self.reshape is None else self.reshape
        axes = [*range(len(into))] if self.transpose is None else sorted(self.transpose)
        into_rows = _of_rows(ours[self.native], self.rows)
        if (
            prod(shape) != prod(into)
            or axes != [*range(len(into))]
            or prod(shape) != prod(into_rows)
        ):
            raise ValueError(
                f"`names`: {self.entry[0]}, of shape {shape}, cannot become {self.entry[1]!r}, of "
                f"shape {into_rows}"
            )

    def taken(self, array: np.ndarray) -> np.ndarray:
        """Return the part of PyTorch's array that is meant, its axes in JAX's order."""
        if self.their_rows is not None:
            array = array[slice(*self.their_rows)]
        array = array if self.reshape is None else array.reshape(self.reshape)
        return array if self.transpose is None else array.transpose(self.transpose)


def near_to(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the nearest of many names, where some are near."""
    near = get_close_matches(name, sorted(known), cutoff=0.4)
    return f"; the nearest are {', '.join(near)}" if near else ""


def _of_rows(shape: tuple[int, ...], rows: Rows | None) -> tuple[int, ...]:
    if rows is None:
        return shape
    fits = len(rows) == 2 and bool(shape) and 0 <= rows[0] < rows[1] <= shape[0]
    return (rows[1] - rows[0], *shape[1:]) if fits else (0,)


def joined(
    links: Sequence[Link], arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Return the native tensors all of whose parts are among PyTorch's arrays, by name."""
    parts: dict[str, list[Link]] = {}
    for link in links:
        parts.setdefault(link.native, []).append(link)
    found: dict[str, np.ndarray] = {}
    for native, own in parts.items():
        if not all(link.theirs in arrays for link in own):
            continue
        dtype = arrays[own[0].theirs].dtype
        if any(link.adds for link in own):
            dtype = np.result_type(dtype, np.float64)  # a sum is not rounded
        whole = np.zeros(shapes[native], dtype)
        for link in own:
            place = ... if link.rows is None else slice(*link.rows)
            whole[place] += link.taken(arrays[link.theirs]).reshape(whole[place].shape)
        found[native] = whole
    return found


def same_shape(first: Sequence[int], second: Sequence[int]) -> bool:
    """Return whether two shapes are the same, or one only has more axes of length one."""
    bare = [n for n in first if n != 1] == [n for n in second if n != 1]
    return tuple(first) == tuple(second) or (len(first) != len(second) and bare)
