"""Networks of every JAX library as NNX modules, which is what the rest of parity knows."""
