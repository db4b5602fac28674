"""Types for jaxlib's compiled module of trees."""

from typing import Any

class PyTreeDef:
    def __getattr__(self, name: str) -> Any: ...

def __getattr__(name: str) -> Any: ...
