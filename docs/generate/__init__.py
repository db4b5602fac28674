"""What the documentation takes from the code, its records and its result files."""
