"""Runs a PyTorch module and a JAX module side by side and reports where they differ."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity.comparison import CHECKS as CHECKS
    from parity.comparison import compare as compare
    from parity.diagnosis.name_map import find_names as find_names
    from parity.report.rows import Report as Report
    from parity.report.rows import Row as Row
    from parity.suite import run_suite as run_suite

__all__ = ["CHECKS", "Report", "Row", "compare", "find_names", "run_suite"]

_MODULES = {
    "CHECKS": "parity.comparison",
    "compare": "parity.comparison",
    "Report": "parity.report.rows",
    "Row": "parity.report.rows",
    "find_names": "parity.diagnosis.name_map",
    "run_suite": "parity.suite",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that options can be read without PyTorch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "matplotlib", "PIL"):
            raise
        needed = f"parity needs {error.name}: pip install 'flaxblocks[parity]'"
        raise ImportError(needed) from error
    globals()[name] = value
    return value
