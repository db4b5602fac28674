"""Timing: each contestant in a process of its own, interleaved."""
