"""The two sides of a comparison: their names lined up, and their runs."""
