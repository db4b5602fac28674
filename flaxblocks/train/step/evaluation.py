"""What a step says of its batch: sums and means that stay on the device."""

import jax
import jax.numpy as jnp

Metrics = dict[str, jax.Array]


def evaluation_sums(losses: jax.Array, logits: jax.Array, label: jax.Array, weight: jax.Array):
    """Return sums over the rows whose weight is not 0.

    Args:
        losses: each sample's, of shape ``(n,)``.
        logits: of shape ``(n, classes)``.
        label: the true classes, of shape ``(n,)``.
        weight: how often each sample counts, of shape ``(n,)``.

    Returns:
        ``loss``, ``correct``, ``correct5`` (the label is among the five largest logits) and
        ``count``, each of shape ``()``.
    """
    _, best = jax.lax.top_k(logits, min(5, logits.shape[-1]))
    hits = best == label[:, None]

    def total(values: jax.Array) -> jax.Array:
        # Not a product: what stands in a padding row may have an infinite loss.
        return jnp.where(weight > 0, values * weight, 0).sum()

    return {
        "loss": total(losses),
        "correct": total(hits[:, 0]),
        "correct5": total(hits.any(-1)),
        "count": weight.sum(),
    }


def add(sums: Metrics | None, more: Metrics) -> Metrics:
    """Return the sums over two sets of rows, on the device.

    Args:
        sums: those so far; None before the first batch.
        more: those of the next batch.
    """
    return more if sums is None else jax.tree.map(jnp.add, sums, more)


def means(sums: Metrics) -> dict[str, float]:
    """Return ``loss``, ``accuracy`` and ``accuracy5`` per sample; this waits for the device.

    Raises:
        ValueError: if nothing was counted.
    """
    totals = {name: float(total) for name, total in jax.device_get(sums).items()}
    if not totals["count"]:
        raise ValueError("`sums` must count at least one sample, got a count of 0")
    names = {"loss": "loss", "accuracy": "correct", "accuracy5": "correct5"}
    return {name: totals[key] / totals["count"] for name, key in names.items()}
