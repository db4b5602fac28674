"""Both programs as lists of operations that can be run again with one of them changed."""
