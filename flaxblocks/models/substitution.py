"""Other normalizations and activations in a whole network."""

from flax import nnx

from flaxblocks.layers import SqueezeExcite
from flaxblocks.layers.activating_norm import ActivatingNorm
from flaxblocks.layers.global_context import GlobalContext
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.scale_norm import ScaleNorm
from flaxblocks.ops.activations import Activation

NORMS = (nnx.BatchNorm, nnx.GroupNorm, nnx.LayerNorm, ScaleNorm, ActivatingNorm)


def replace_norms(model: nnx.Module, norm: ModuleFactory, **arguments: object) -> None:
    """Replace every normalization of the model.

    Args:
        model: the network, in place.
        norm: makes each normalization: ``norm(features, **arguments)``.
        **arguments: ``dtype``, ``param_dtype`` and ``rngs``.
    """
    for _, module in list(nnx.iter_modules(model)):
        for name, child in list(vars(module).items()):
            if isinstance(child, NORMS) and child.scale is not None:
                setattr(module, name, norm(child.scale.size, **arguments))


def replace_activations(model: nnx.Module, act: Activation) -> None:
    """Replace the activations of the model, but for those within its gates.

    Args:
        model: the network, in place.
        act: takes the place of each activation that there is.
    """
    for _, module in nnx.iter_modules(model):
        if isinstance(module, SqueezeExcite | GlobalContext):
            continue
        for name in ("act", "final_act", "neck"):
            old = getattr(module, name, None)
            if old is not None and not isinstance(old, nnx.Module):
                setattr(module, name, act)
