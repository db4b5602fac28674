"""The PyTorch and the JAX side of a comparison: name pairing, and their runs."""
