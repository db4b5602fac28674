"""The benchmark: how fast blocks, convolutions and networks are, beside what else runs them.

Each contestant runs in a process of its own, with as many threads as the others and the same
weights and input. Their answers are compared first; a wrong one is not timed.
"""
