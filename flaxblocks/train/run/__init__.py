"""A training run: recipe, loop, checkpoints, log and the folder it writes."""
