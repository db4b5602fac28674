"""The optimizers of the recipes, each a few numbers that make an optax transformation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax

Mask = Callable[[Any], Any]
"""Says for each parameter of a tree whether its weights decay."""


Algorithm = Callable[[optax.ScalarOrSchedule, float, Mask], optax.GradientTransformation]
"""Makes the transformation from a learning rate, the decay of the weights and what decays."""


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum; the decay is part of the gradient.

    Args:
        momentum: the weight of the past.
        nesterov: whether the gradient is looked up ahead.

    Source: `torch.optim.SGD`.
    """

    momentum: float = 0.9
    nesterov: bool = False

    def __call__(
        self, learning_rate: optax.ScalarOrSchedule, weight_decay: float, mask: Mask
    ) -> optax.GradientTransformation:
        """Return the transformation."""
        return optax.chain(
            optax.add_decayed_weights(weight_decay, mask),
            optax.sgd(learning_rate, momentum=self.momentum, nesterov=self.nesterov),
        )


@dataclass(frozen=True)
class RmsProp:
    """RMSprop as TensorFlow has it; the decay is part of the gradient.

    Unlike PyTorch's, `epsilon` stands inside the root, the mean square starts at 1, and the
    momentum keeps steps, not gradients: it is not scaled anew where the learning rate changes.

    Args:
        decay: the weight of the past in the mean square.
        momentum: the weight of the past steps.
        epsilon: number added to the mean square.

    Source: the released code of Tan and Le 2019; timm's `RMSpropTF`.
    """

    decay: float = 0.9
    momentum: float = 0.9
    epsilon: float = 1e-3

    def __call__(
        self, learning_rate: optax.ScalarOrSchedule, weight_decay: float, mask: Mask
    ) -> optax.GradientTransformation:
        """Return the transformation."""
        return optax.chain(
            optax.add_decayed_weights(weight_decay, mask),
            optax.rmsprop(
                learning_rate,
                decay=self.decay,
                eps=self.epsilon,
                initial_scale=1.0,
                eps_in_sqrt=True,
                momentum=self.momentum,
            ),
        )


@dataclass(frozen=True)
class AdamW:
    """Adam with decay apart from the gradient.

    Args:
        beta1: the weight of the past in the mean.
        beta2: the weight of the past in the mean square.
        epsilon: number added to the root of the mean square.

    Source: Loshchilov and Hutter 2019, algorithm 2; `torch.optim.AdamW`.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __call__(
        self, learning_rate: optax.ScalarOrSchedule, weight_decay: float, mask: Mask
    ) -> optax.GradientTransformation:
        """Return the transformation."""
        return optax.adamw(
            learning_rate,
            b1=self.beta1,
            b2=self.beta2,
            eps=self.epsilon,
            weight_decay=weight_decay,
            mask=mask,
        )


def everything(params: Any) -> Any:
    """Let every parameter decay: a `Mask`."""
    return jax.tree.map(lambda _: True, params)


def all_but_norms(params: Any) -> Any:
    """Let every parameter decay but the scales and biases of normalizations: a `Mask`."""
    if not isinstance(params, dict):
        return True
    if "scale" in params:
        return jax.tree.map(lambda _: False, params)
    return {name: all_but_norms(child) for name, child in params.items()}


def kernels_only(params: Any) -> Any:
    """Let only parameters of two axes or more decay, no scale and no bias: a `Mask`."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
