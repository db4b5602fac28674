# pyright: reportUnknownMemberType=false
"""Two classifiers made one."""

from typing import Any

from flax import nnx

from flaxblocks.blocks.distilled_head import DistilledHead
from flaxblocks.inference.by_numpy import by_numpy, namespace
from flaxblocks.inference.fold import Arrays, Weights, arrays_of
from flaxblocks.inference.norms_first import after_norm


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
    ((kernel, bias),) = _mean([[arrays_of(linear, norm) for norm, linear in pairs]])
    head.classifier.kernel.set_value(kernel)
    head.classifier.bias.set_value(bias)
    head.classifier_norm = head.taught_norm = head.taught = nnx.data(None)


@by_numpy
def _mean(layers: list[Arrays]) -> Weights:
    """Return the kernel and the bias of the mean of layers, each with the normalization before."""
    dtype = layers[0]["kernel"].dtype
    kernels, biases = zip(*map(after_norm, layers), strict=True)
    xp = namespace(kernels[0])
    halves = [xp.stack(values).mean(0).astype(dtype) for values in (kernels, biases)]
    return halves[0], halves[1]
