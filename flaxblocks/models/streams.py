"""Random streams that count in Python while a network is made."""

import jax
from flax import nnx


class CountedStream(nnx.RngStream):
    """A stream whose position is a Python number.

    NNX keeps it in an array, and asks for the array's sharding at each draw. Under `nnx.eval_shape`
    the answer takes longer the more was traced before, which was most of the time that it took to
    make a deep network.
    """

    def __init__(self, stream: nnx.RngStream):
        super().__init__(stream(), tag=stream.tag)
        self.position = 0

    def __call__(self) -> jax.Array:
        """Return the next key."""
        self.position += 1
        return jax.random.fold_in(self.key.get_value(), self.position)

    def fork(self, **_: object) -> nnx.RngStream:
        """Return a stream of NNX's own, for a layer to keep."""
        return nnx.RngStream(self(), tag=self.tag)


def counted(rngs: nnx.Rngs) -> nnx.Rngs:
    """Return streams that continue from these, for the time in which a network is made."""
    new = nnx.Rngs()
    for name, stream in rngs.items():
        setattr(new, name, CountedStream(stream))
    return new
