"""What is timed: modules by name, what is done with them, their data and their cost."""
