"""The train step: state, losses, mixing, averaging, sharding and evaluation."""
