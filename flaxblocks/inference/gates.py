"""Squeeze-and-excitation as one native kernel."""

import jax

from flaxblocks.inference.units import is_called_as, is_pointwise, weights
from flaxblocks.layers import SqueezeExcite
from flaxblocks.layers.squeeze_excite import SqueezeNormExcite
from flaxblocks.ops.native import squeeze_excite as kernel
from flaxblocks.ops.program import Program


def squeeze_excite(program: Program, module: SqueezeExcite, x: jax.Array) -> jax.Array | None:
    """Compute a `SqueezeExcite`."""
    acts = module.act, module.gate
    if not is_gate(module) or not kernel.fits(x, acts, program.kernels):
        return None
    if not all(is_pointwise(conv, x) for conv in (module.reduce, module.expand)):
        return None
    return kernel.compute(x, weights(module.reduce), weights(module.expand), acts)


def is_gate(module: object) -> bool:
    """Return whether the module does what `SqueezeExcite` does, with nothing added to it."""
    if not is_called_as(module, SqueezeExcite):
        return False
    squeeze = getattr(type(module), "squeeze", None)
    is_folded = getattr(module, "norm", None) is None
    return squeeze is SqueezeExcite.squeeze or (squeeze is SqueezeNormExcite.squeeze and is_folded)
