# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
"""The recipes' optimizers, as their sources have them, and which parameters decay."""

from collections.abc import Callable
from typing import Any, cast

import jax
import optax

from flaxblocks.train.optim.groups import selected_by

Mask = Callable[[Any], Any]
"""Takes a tree of parameters and returns a tree of bools: whether each one's weights decay."""

Algorithm = Callable[[optax.ScalarOrSchedule, float, Mask], optax.GradientTransformation]
"""Takes the learning rate, the weight decay and what decays, and returns the transformation."""


def sgd(
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: float,
    mask: Mask,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum; the decay is part of the gradient.

    Source: `torch.optim.SGD`.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask),
        optax.sgd(learning_rate, momentum=momentum, nesterov=nesterov),
    )


def rmsprop(
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: float,
    mask: Mask,
    *,
    decay: float = 0.9,
    momentum: float = 0.9,
    epsilon: float = 1e-3,
) -> optax.GradientTransformation:
    """RMSprop as TensorFlow has it; the weight decay is part of the gradient.

    Unlike PyTorch's, `epsilon` is inside the root, the mean square starts at 1, and the momentum
    accumulates steps, not gradients: a change of the learning rate does not rescale past steps.

    Source: the released code of Tan and Le 2019; timm's `RMSpropTF`.
    """
    update = optax.rmsprop(
        learning_rate,
        decay=decay,
        eps=epsilon,
        initial_scale=1.0,
        eps_in_sqrt=True,
        momentum=momentum,
    )
    return optax.chain(optax.add_decayed_weights(weight_decay, mask), update)


def torch_rmsprop(
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: float,
    mask: Mask,
    *,
    decay: float = 0.9,
    momentum: float = 0.9,
    epsilon: float = 0.0316,
) -> optax.GradientTransformation:
    """RMSprop as PyTorch has it; the weight decay is part of the gradient.

    Unlike TensorFlow's, `epsilon` is outside the root, the mean square starts at 0, and the
    momentum accumulates gradients, which the learning rate scales.

    Source: `torch.optim.RMSprop`; `epsilon` and `decay` are torchvision's classification
        reference's.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_rms(decay, epsilon, eps_in_sqrt=False),
        optax.trace(momentum),
        optax.scale_by_learning_rate(learning_rate),
    )


def lamb(
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: float,
    mask: Mask,
    *,
    epsilon: float = 1e-6,
) -> optax.GradientTransformation:
    """Adam whose step of each parameter is as long as a part of the parameter itself.

    The gradient is clipped to the norm 1 first. Parameters that do not decay take Adam's steps.

    Source: You et al. 2020, algorithm 2; timm's `Lamb`.
    """
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(eps=epsilon),
        optax.add_decayed_weights(weight_decay, mask),
        optax.masked(optax.scale_by_trust_ratio(), mask),
        optax.scale_by_learning_rate(learning_rate),
    )


def adamw(
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: float,
    mask: Mask,
    *,
    epsilon: float = 1e-8,
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay; betas 0.9 and 0.999.

    Source: Loshchilov and Hutter 2019, algorithm 2; `torch.optim.AdamW`.
    """
    return optax.adamw(learning_rate, eps=epsilon, weight_decay=weight_decay, mask=mask)


everything: Mask = selected_by(...)
"""Decay every parameter."""


def _is_kernel(path: Any, value: Any) -> bool:
    return value.ndim > 1


kernels_only: Mask = selected_by(_is_kernel)
"""Decay parameters of two or more axes, no scale and no bias."""


def all_but_norms(params: Any) -> Any:
    """Decay every parameter but the scales and biases of normalizations: a `Mask`."""
    if not isinstance(params, dict):
        return True
    children = cast("dict[str, Any]", params)
    if "scale" in children:
        return jax.tree.map(_never, children)
    return {name: all_but_norms(child) for name, child in children.items()}


def _never(_: Any) -> bool:
    return False
