"""Random networks: one description, which becomes a PyTorch module and its port to Flax."""
