"""The tasks: modules by name, inference or training, their data and their cost."""
