"""What is compared, how it is measured, and how close is equal."""
