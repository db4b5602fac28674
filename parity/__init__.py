"""Runs a PyTorch module and a Flax module side by side and reports where they differ."""
