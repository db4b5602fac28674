"""Outputs in another order."""

import numpy as np

from parity.checks.measure import scaled_error

LABELS = "label order"
"""How what is said of outputs in another order begins."""


def reordered(theirs: np.ndarray, ours: np.ndarray, limit: float) -> str | None:
    """Return a clause where JAX's last axis holds PyTorch's values in another order."""
    if theirs.shape != ours.shape or theirs.ndim < 2 or scaled_error(ours, theirs) <= limit:
        return None
    rows = theirs.reshape(-1, theirs.shape[-1]), ours.reshape(-1, ours.shape[-1])
    order = [int(np.abs(rows[0].T - column).max(1).argmin()) for column in rows[1].T]
    if sorted(order) != list(range(len(order))):
        return None
    if scaled_error(ours, theirs[..., order]) > limit:
        return None
    moved = [i for i, place in enumerate(order) if i != place]
    shown = ", ".join(f"{i} holds PyTorch's {order[i]}" for i in moved[:3])
    return f"{LABELS}: JAX's output {shown}{' and so on' if len(moved) > 3 else ''}"
