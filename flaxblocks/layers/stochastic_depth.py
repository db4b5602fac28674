"""Stochastic depth, also known as drop path."""

from flax import nnx

from flaxblocks._base import checks
from flaxblocks.layers.rngs import check_rngs
from flaxblocks.layers.scopes import Scoped


class StochasticDepth(Scoped, nnx.Dropout):
    """Drop the whole residual branch of a sample, and rescale the branches that survive.

    In train mode each sample is zeroed with probability `rate` and otherwise divided by
    ``1 - rate``; in eval mode it is the identity. `train()` and `eval()` switch it.

    >>> drop = fb.StochasticDepth(0.5, rngs=nnx.Rngs(0))
    >>> kept = drop(jnp.ones((4, 2, 2, 3)))
    >>> sorted({float(value) for value in kept.ravel()})
    [0.0, 2.0]

    Args:
        rate: probability of dropping a sample's branch.
        rngs: random streams; ``dropout`` is drawn from.

    Raises:
        TypeError: if `rate` is not a number.
        ValueError: if `rate` does not lie between 0 and 1.

    Source: Huang et al. 2016, section 3; `torchvision.ops.StochasticDepth(mode="row")`.
    """

    def __init__(self, rate: float, *, rngs: nnx.Rngs):
        check_rngs(rngs)
        super().__init__(checks.fraction("rate", rate), broadcast_dims=(1, 2, 3), rngs=rngs)


def optional_stochastic_depth(drop_path: float, rngs: nnx.Rngs) -> StochasticDepth | None:
    """Return the layer, or None where the rate is 0 and it would do nothing.

    Raises:
        TypeError: if the rate is not a number.
        ValueError: if it does not lie between 0 and 1.
    """
    rate = checks.fraction("drop_path", drop_path)
    return StochasticDepth(rate, rngs=rngs) if rate else None
