"""Types for jaxlib's compiled module, which has none of its own: JAX's signatures name them."""

from typing import Any

class Device:
    def __getattr__(self, name: str) -> Any: ...

def __getattr__(name: str) -> Any: ...
