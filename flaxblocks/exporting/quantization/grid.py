"""The 256 numbers that an array's values are rounded to."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

LEVELS = 255


@dataclass(frozen=True)
class Grid:
    """Evenly spaced numbers, 0 among them: ``scale * (q - zero)`` for q from 0 to 255.

    Args:
        scale: the step, a number of float32.
        zero: which q is 0.
    """

    scale: float
    zero: int

    @classmethod
    def covering(cls, low: float, high: float) -> "Grid":
        """Return the grid from the one number to the other, widened to contain 0."""
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        scale = float(np.float32((high - low) / LEVELS)) or 1.0
        return cls(scale, round(-low / scale))

    def steps(self, x: jax.Array) -> jax.Array:
        """Return how many steps from 0 the nearest numbers of the grid are."""
        return self.whole(x / np.float32(self.scale))

    def whole(self, steps: jax.Array) -> jax.Array:
        """Return numbers of steps rounded, half to even, and kept within the grid."""
        return jnp.clip(jnp.round(steps), -self.zero, LEVELS - self.zero)

    def values(self, steps: jax.Array) -> jax.Array:
        """Return the numbers that are so many steps from 0."""
        return steps * np.float32(self.scale)
