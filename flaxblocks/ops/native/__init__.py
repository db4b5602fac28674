"""Kernels in C++, which XLA calls on CPU where it is asked to."""
