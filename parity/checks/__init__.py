"""The checks, their measures and their tolerances."""
