"""Random streams: the check of the argument, and those of a network that is being made."""

import jax
from flax import nnx

from flaxblocks.layers.initializers import Initialization


class NetworkRngs(nnx.Rngs):
    """Random streams that tell each layer how the network initializes its weights.

    Args:
        rngs: the streams that these continue from.
        initialization: the network's rules.
    """

    def __init__(self, rngs: nnx.Rngs, initialization: Initialization):
        check_rngs(rngs)
        super().__init__()
        for name, stream in rngs.items():
            setattr(self, name, CountedStream(stream))
        self.initialization = nnx.static(initialization)


class CountedStream(nnx.RngStream):
    """A stream that counts its draws with a Python number.

    NNX counts with an array and asks for the array's sharding at each draw, which under
    `nnx.eval_shape` takes longer the more was traced before: most of the time of making a deep
    network.
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


def check_rngs(rngs: object) -> None:
    """Refuse a seed or a key where random streams are needed.

    Raises:
        TypeError: if the argument is not `nnx.Rngs`.
    """
    if not isinstance(rngs, nnx.Rngs):
        given = "an array" if isinstance(rngs, jax.Array) else repr(rngs)
        raise TypeError(
            f"`rngs` must be nnx.Rngs, made of a seed or a key as in nnx.Rngs(0), got {given}"
        )


def initialization_of(rngs: nnx.Rngs) -> Initialization:
    """Return the rules of the network that is being made; the layers' defaults outside of one.

    Raises:
        TypeError: if the argument is not `nnx.Rngs`.
    """
    check_rngs(rngs)
    return rngs.initialization if isinstance(rngs, NetworkRngs) else Initialization()
