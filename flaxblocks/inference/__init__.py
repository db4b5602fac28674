"""A model becomes a model that only infers, once."""

from flaxblocks.inference import cpu_forms as cpu_forms  # registers them
from flaxblocks.inference.convert import for_inference as for_inference
