"""Names that tensors have in older files."""

import re
from collections.abc import Mapping
from typing import Any

OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")
"""Of torchvision's published DenseNets: ``norm.1`` for ``norm1``."""


def in_todays_names(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tensors by the names that torchvision's modules have now."""
    if not any(OLD_DENSE_LAYER.search(name) for name in tensors):
        return tensors
    return {OLD_DENSE_LAYER.sub(r"\1\2", name): tensors[name] for name in tensors}
