"""The loss of a classifier."""

import jax
import jax.numpy as jnp


def cross_entropy(logits: jax.Array, label: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """Return each sample's cross-entropy, in at least float32.

    ``logsumexp(logits) - (1 - smoothing) * logits[label] - smoothing * mean(logits)``.

    >>> [float(loss) for loss in cross_entropy(jnp.zeros((1, 1)), jnp.zeros(1, int))]
    [0.0]

    Args:
        logits: of shape ``(n, classes)``.
        label: the true classes, of shape ``(n,)``; one out of range has the loss NaN.
        smoothing: the part of the target that is spread evenly over all classes.

    Returns:
        Losses of shape ``(n,)``.

    Source: Szegedy et al. 2016, section 7; `torch.nn.CrossEntropyLoss`.
    """
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    own = jnp.take_along_axis(logits, label[:, None], -1)[:, 0]
    spread = logits.mean(-1)
    return jax.nn.logsumexp(logits, -1) - (1 - smoothing) * own - smoothing * spread
