"""Two classifiers made one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flaxblocks.blocks.distilled_head import DistilledHead
from flaxblocks.inference.fold import Arrays


def fold_heads(model: nnx.Module) -> None:
    """Make one linear layer of each `DistilledHead`, in place.

    A normalization before a linear layer is one linear layer with it, and the mean of two linear
    layers of one input has the mean of their kernels and of their biases.
    """
    for _, head in nnx.iter_modules(model):
        if isinstance(head, DistilledHead) and head.taught is not None:
            _merge(head)


def _merge(head: Any) -> None:
    pairs = (head.classifier_norm, head.classifier), (head.taught_norm, head.taught)
    if not all(isinstance(norm, nnx.BatchNorm) for norm, _ in pairs):
        return
    kernel, bias = _mean([_arrays(norm, linear) for norm, linear in pairs])
    head.classifier.kernel.set_value(kernel)
    head.classifier.bias.set_value(bias)
    head.classifier_norm = head.taught_norm = head.taught = nnx.data(None)


def _arrays(norm: nnx.BatchNorm, linear: nnx.Linear) -> Arrays:
    variables = {"kernel": linear.kernel, "bias": linear.bias, "mean": norm.mean, "var": norm.var}
    variables |= {"scale": norm.scale, "shift": norm.bias}
    arrays = {name: v.get_value() for name, v in variables.items() if v is not None}
    return arrays | {"epsilon": jnp.asarray(norm.epsilon, arrays["var"].dtype)}


@jax.jit
def _mean(layers: list[Arrays]) -> tuple[jax.Array, jax.Array]:
    """Return the kernel and the bias of the mean; an absent scale is 1, an absent bias 0."""
    dtype = layers[0]["kernel"].dtype
    kernels, biases = [], []
    for arrays in layers:
        wide = {n: a.astype(np.promote_types(a.dtype, np.float32)) for n, a in arrays.items()}
        multiplier = wide.get("scale", 1) / jnp.sqrt(wide["var"] + wide["epsilon"])
        shift = wide.get("shift", 0) - wide["mean"] * multiplier
        kernels.append(wide["kernel"] * multiplier[:, None])
        biases.append(wide.get("bias", 0) + shift @ wide["kernel"])
    halves = [jnp.stack(values).mean(0).astype(dtype) for values in (kernels, biases)]
    return halves[0], halves[1]
