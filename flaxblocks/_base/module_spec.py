"""Descriptions of modules that two libraries with the same names can both build."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, cast

WRAPPERS = ("ResidualAdd", "Mixed")  # they take no common arguments


@dataclass(frozen=True)
class Function:
    """An activation function of either library, by name."""

    name: str


@dataclass(frozen=True)
class Spec:
    """A module of either library; its arguments may be `Function`, `Factory` and `Spec`."""

    name: str  # of the class, the same in both libraries
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def build(self, library: ModuleType, **common: Any) -> Any:
        """Return the library's module; it and the modules in it take the common arguments too."""

        def resolved(value: Any) -> Any:
            if isinstance(value, Function):
                return getattr(library.activations, value.name)
            if isinstance(value, tuple):
                return tuple(map(resolved, cast(tuple[Any, ...], value)))
            return value.build(library, **common) if isinstance(value, Spec) else value

        make = getattr(library, self.name)
        args = [resolved(value) for value in self.args]
        kwargs = {name: resolved(value) for name, value in self.kwargs.items()}
        if isinstance(self, Factory):
            return partial(make, *args, **kwargs)
        return make(*args, **kwargs, **({} if self.name in WRAPPERS else common))


@dataclass(frozen=True)
class Factory(Spec):
    """As `Spec`, for an argument that takes the class with its arguments and calls it itself."""
