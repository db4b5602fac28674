"""Argument checks shared by the layers and blocks: one clear sentence for each mistake."""

import operator
from math import isfinite
from numbers import Real
from typing import TypeVar

F = TypeVar("F")


def positive_int(name: str, value: object) -> int:
    """Return `value` as an int of at least 1.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is below 1.
    """
    return _int("a positive integer", name, value, least=1)


def natural_int(name: str, value: object) -> int:
    """Return `value` as an int of at least 0.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is below 0.
    """
    return _int("an integer of at least 0", name, value, least=0)


def _int(needed: str, name: str, value: object, *, least: int) -> int:
    try:
        number = operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError as error:
        raise TypeError(f"`{name}` must be {needed}, got {value!r}") from error
    if isinstance(value, bool) or number < least:
        raise ValueError(f"`{name}` must be {needed}, got {value!r}")
    return number


def pair(name: str, value: int | tuple[int, int], *, least: int = 1) -> tuple[int, int]:
    """Return `value` as two ints for height and width, each at least `least`.

    Raises:
        TypeError: if it is neither an integer nor a pair of integers.
        ValueError: if one of them is below `least`.
    """
    needed = f"an integer or a pair of integers of at least {least}"
    values = tuple(value) if isinstance(value, tuple | list) else (value, value)
    try:
        numbers = tuple(operator.index(number) for number in values)
    except TypeError as error:
        raise TypeError(f"`{name}` must be {needed}, got {value!r}") from error
    if len(numbers) != 2 or min(numbers) < least:
        raise ValueError(f"`{name}` must be {needed}, got {value!r}")
    return numbers[0], numbers[1]


def number(name: str, value: float, needed: str) -> float:
    """Return `value`, a finite number.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not finite.
    """
    if not isinstance(value, Real):
        raise TypeError(f"`{name}` must {needed}, got {value!r}")
    if not isfinite(value):
        raise ValueError(f"`{name}` must {needed}, got {value!r}")
    return value


def at_least_0(name: str, value: float) -> float:
    """Return `value`, a finite number of at least 0.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is below 0 or not finite.
    """
    if number(name, value, "be a number of at least 0") < 0:
        raise ValueError(f"`{name}` must be a number of at least 0, got {value!r}")
    return value


def fraction(name: str, value: float) -> float:
    """Return `value`, a number from 0 to 1.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it lies outside.
    """
    if not 0 <= number(name, value, "lie between 0 and 1") <= 1:
        raise ValueError(f"`{name}` must lie between 0 and 1, got {value!r}")
    return value


def scaled_features(features: int, name: str, factor: float) -> int:
    """Return `features` times `factor`, rounded, as a channel count of at least 1.

    Raises:
        TypeError: if `factor` is not a number.
        ValueError: if `factor` leaves no channel.
    """
    positive_int("in_features", features)
    needed = f"leave at least one of {features} channels"
    scaled = round(features * number(name, factor, needed))
    if scaled < 1:
        raise ValueError(f"`{name}` must {needed}, got {factor!r}")
    return scaled


def hidden_features(in_features: int, expansion: float, hidden: int | None) -> int:
    """Return a block's wide width: `hidden` where given, else ``in_features * expansion``."""
    if hidden is None:
        return scaled_features(in_features, "expansion", expansion)
    return positive_int("hidden_features", hidden)


def groups_of(name: str, size: int, features: int) -> int:
    """Return how many groups of this size the channels make.

    Raises:
        TypeError: if the size, the argument called `name`, is not an integer.
        ValueError: if it does not divide the channels.
    """
    if features % positive_int(name, size):
        raise ValueError(f"`{name}` must divide the {features} channels, got {size}")
    return features // size


def reduced_features(out_features: int, reduction: float) -> int:
    """Return a bottleneck's narrow width, ``out_features // reduction``.

    Raises:
        TypeError: if `reduction` is not a number.
        ValueError: if `reduction` leaves no channel.
    """
    positive_int("out_features", out_features)
    needed = f"leave at least one of {out_features} channels"
    if number("reduction", reduction, needed) <= 0 or out_features // reduction < 1:
        raise ValueError(f"`reduction` must {needed}, got {reduction!r}")
    return int(out_features // reduction)


def function(name: str, value: F, *, optional: bool = False) -> F:
    """Return `value`, a callable, or None where that is allowed.

    Raises:
        TypeError: if it cannot be called.
    """
    if callable(value) or (optional and value is None):
        return value
    needed = "a callable or None" if optional else "a callable"
    raise TypeError(f"`{name}` must be {needed}, got {value!r}")
