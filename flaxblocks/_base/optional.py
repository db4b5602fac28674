"""Packages that only an extra installs."""

from importlib import import_module
from typing import Any


def required(module: str, package: str, purpose: str, install: str = "'flaxblocks[train]'") -> Any:
    """Import a module of an optional package.

    Args:
        module: what to import, such as ``"orbax.checkpoint"``.
        package: what to install, such as ``"orbax-checkpoint"``.
        purpose: what needs it, for the error: ``"checkpoints need"``.
        install: what pip installs for it.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{purpose} {package}: pip install {install}") from error
