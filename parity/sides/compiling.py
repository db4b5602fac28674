# pyright: reportUnknownMemberType=false
"""Compiles functions of modules for each dtype."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import jax

from parity.trace.jax_program import QUICK


@dataclass(frozen=True, eq=False)
class _Structure:
    """A module's structure as a key, even where an attribute, such as a list, has no hash."""

    graphdef: Any

    def __hash__(self) -> int:
        return hash((len(self.graphdef.attributes), self.graphdef.num_leaves))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Structure) and bool(self.graphdef == other.graphdef)


def compiled(function: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Return the function for each dtype, compiled when called; its first is a module's structure.

    Float32 is compiled as users compile it.
    """

    def unwrapped(structure: _Structure, *arguments: Any) -> Any:
        return function(structure.graphdef, *arguments)

    def made(compile_: Callable[..., Any]) -> Callable[..., Any]:
        jitted = compile_(unwrapped, static_argnums=0)

        def call(graphdef: Any, *arguments: Any) -> Any:
            return jitted(_Structure(graphdef), *arguments)

        return call

    as_users_do = cast(Callable[..., Any], jax.jit)
    return {"float32": made(as_users_do), "float64": made(compiled_float64)}


def compiled_float64(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Return the function, compiled when called, and hardly optimized.

    Float64 is there for its meaning: to compile it costs more than to run it.
    """
    return jax.jit(function, compiler_options=QUICK, **options)
