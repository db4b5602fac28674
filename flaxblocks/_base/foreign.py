"""Arguments that other libraries have, answered with the name of ours."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def answers(foreign: Mapping[str, str]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator for a function that may be called with another library's arguments.

    The function takes what it took; a foreign argument's error says what to use instead.

    Args:
        foreign: what to use in place of each argument.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        unknown = foreign.keys() - signature(function).parameters

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in kwargs.keys() & unknown:
                called = getattr(function, "__name__", "the function")
                raise TypeError(f"{called}() has no argument `{name}`: {foreign[name]}")
            return function(*args, **kwargs)

        return call

    return decorate
