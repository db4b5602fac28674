"""How one setting is declared, checked and written."""

import json
from collections.abc import Mapping
from dataclasses import Field, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, cast


def setting(
    kind: type,
    default: Any,
    text: str,
    *,
    many: bool = False,
    choices: tuple[Any, ...] = (),
    result: bool = True,
) -> Any:
    """Return a field: its type, whether it is a list, its choices, and whether results depend."""
    about = {"kind": kind, "help": text, "many": many, "choices": choices, "result": result}
    return field(default=default, metadata=MappingProxyType(about))


def checked(known: Mapping[str, Field[Any]], name: str, value: Any) -> Any:
    """Return a value as its setting has it.

    Args:
        known: the settings by name.
        name: one of them.
        value: what it is to be.

    Raises:
        TypeError: if the value has another type.
        ValueError: if there is no such setting, or the value is none of its choices.
    """
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ValueError(f"there is no setting called {name!r}{hint}")
    about = known[name].metadata
    if about["many"]:
        if not isinstance(value, list | tuple):
            raise TypeError(f"`{name}` must be a list, got {value!r}")
        return tuple(_one(name, about, item) for item in cast("list[Any]", value))
    return _one(name, about, value)


def _one(name: str, about: Mapping[str, Any], value: Any) -> Any:
    kind = about["kind"]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"`{name}` must be of type {kind.__name__}, got {value!r}")
    if about["choices"] and value not in about["choices"]:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(str, about['choices']))}, got {value!r}"
        )
    return value


def toml(value: Any) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, cast('tuple[Any, ...]', value)))}]"
    return json.dumps(value)  # of these types the same as TOML
