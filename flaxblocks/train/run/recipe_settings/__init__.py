"""How networks are trained, as settings by name: a table for each source.

A recipe is an entry of one of these tables, and says what it changes about `Settings`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from flaxblocks.train.run.recipe_settings import own, papers, timm, torchvision

RECIPE_SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {**own.RECIPES, **torchvision.RECIPES, **timm.RECIPES, **papers.RECIPES}
)
