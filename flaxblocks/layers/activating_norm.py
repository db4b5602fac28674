"""The normalizations that are activations too."""

from flaxblocks.layers.evo_norm import EvoNorm
from flaxblocks.layers.filter_response_norm import FilterResponseNorm

ActivatingNorm = EvoNorm | FilterResponseNorm
"""Called with `act`, they stand for that activation; `drop_activation` where none follows."""
