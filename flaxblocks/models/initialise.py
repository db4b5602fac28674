"""Draw a network's first weights as its source does."""

from collections.abc import Iterator

import jax
from flax import nnx
from jax.nn import initializers

from flaxblocks.models.architecture import Initialisation, Initializer

kaiming_normal = initializers.variance_scaling(2.0, "fan_out", "normal")
"""Normal of variance ``2 / (kernel_h * kernel_w * out_features)``; groups do not count."""

zeros = initializers.zeros
normal = initializers.normal


def initialise(model: nnx.Module, rules: Initialisation, rngs: nnx.Rngs) -> None:
    """Redraw the weights of every convolution and linear layer, in place.

    Args:
        model: the network.
        rules: how to draw each kind of tensor.
        rngs: random streams; ``params`` is drawn from.
    """
    key = rngs.params()
    for number, (param, draw) in enumerate(_drawn(model, rules)):
        old = param.get_value()
        param.set_value(draw(jax.random.fold_in(key, number), old.shape, old.dtype))


def _drawn(model: nnx.Module, rules: Initialisation) -> Iterator[tuple[nnx.Param, Initializer]]:
    """Yield each parameter that the rules draw, with its rule, in the order of their paths."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Conv):
            pairs = ((module.kernel, rules.conv), (module.bias, rules.conv_bias))
        elif isinstance(module, nnx.Linear):
            pairs = ((module.kernel, rules.linear), (module.bias, rules.linear_bias))
        else:
            continue
        for param, draw in pairs:
            if param is not None and draw is not None:
                yield param, draw
