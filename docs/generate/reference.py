"""The reference: a page for each part of the public interface, from the docstrings."""

import inspect
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

PAGES = {
    "blocks": ("Blocks and layers", ("blocks", "layers")),
    "models": ("Networks", ("models", "create", "preprocess")),
    "weights": ("Weights", ("weights",)),
    "inference": ("Inference and export", ("inference", "exporting", "_base")),
}
"""The pages of `flaxblocks`' own names: each a title, and the subpackages that define them."""

MODULES = {
    "ops": ("Operations", "flaxblocks.ops"),
    "activations": ("Activations", "flaxblocks.ops.activations"),
    "train": ("Training", "flaxblocks.train"),
    "data": ("Training data", "flaxblocks.train.data"),
    "parity": ("Parity", "parity"),
}
"""The pages of other modules: each a title and a module."""


def reference_pages() -> dict[str, str]:
    """Return the pages in Markdown, by name; the first is their index.

    Raises:
        ValueError: if a public name has no page.
    """
    pages = {}
    left = public_names("flaxblocks")
    for page, (title, parts) in PAGES.items():
        mine = [name for name in left if _part("flaxblocks", name) in parts]
        left = [name for name in left if name not in mine]
        pages[page] = _page(title, "flaxblocks", mine)
    if left:
        raise ValueError(f"`PAGES` must have a page for flaxblocks.{', '.join(left)}")
    for page, (title, module) in MODULES.items():
        pages[page] = _page(title, module, public_names(module))
    return {"index": _index(pages), **pages}


def public_names(module: str) -> list[str]:
    """Return what a module offers itself: no modules, and nothing of another library."""
    package = import_module(module)
    return [
        name
        for name in dir(package)
        if not name.startswith("_")
        and not isinstance(value := getattr(package, name), ModuleType)
        and _home(value).partition(".")[0] in ("flaxblocks", "parity")
    ]


def _home(value: Any) -> str:
    return value.func.__module__ if isinstance(value, partial) else getattr(value, "__module__", "")


def _part(module: str, name: str) -> str:
    return _home(getattr(import_module(module), name)).split(".")[1]


def _index(pages: dict[str, str]) -> str:
    entries = "\n".join(pages)
    return f"# Reference\n\n```{{toctree}}\n:maxdepth: 2\n\n{entries}\n```\n"


def _page(title: str, module: str, names: list[str]) -> str:
    package = import_module(module)
    entries = "\n".join(_entry(module, name, getattr(package, name)) for name in names)
    return f"# {title}\n\n```{{eval-rst}}\n.. currentmodule:: {module}\n\n{entries}```\n"


def _entry(module: str, name: str, value: Any) -> str:
    if inspect.isclass(value):
        return f".. autoclass:: {module}.{name}\n   :members:\n"
    if inspect.isroutine(value):
        return f".. autofunction:: {module}.{name}\n"
    if isinstance(value, partial):
        arguments = ", ".join(f"{key}={argument!r}" for key, argument in value.keywords.items())
        return f".. py:data:: {name}\n\n   `{value.func.__name__}` with ``{arguments}``.\n"
    return f".. autodata:: {module}.{name}\n   :no-value:\n"
