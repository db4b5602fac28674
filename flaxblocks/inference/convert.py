# pyright: reportUnknownMemberType=false
"""The door: a model becomes a copy that only infers."""

from functools import cache
from types import new_class
from typing import Any, TypeVar, cast

import jax
from flax import nnx

from flaxblocks.inference.branches import fold_branches
from flaxblocks.inference.fold import fold_batch_norms
from flaxblocks.inference.heads import fold_heads
from flaxblocks.inference.layer_scales import fold_layer_scales
from flaxblocks.inference.norms_first import fold_into_next
from flaxblocks.inference.standardize import fold_standardization
from flaxblocks.ops.fused import fused, has_forms

M = TypeVar("M", bound=nnx.Module)


def for_inference(model: M) -> M:
    """Return a copy for inference: the same function as the model in eval mode, faster.

    Batch normalizations are folded into the convolutions that they follow, or into the layer right
    after them where it has no padding; others stay as they are.
    A residual branch's scale is folded into the layer before it. The parallel convolutions of a
    `RepConv` become one; a `StandardizedConv` gets the kernel that it convolves by.
    Each block becomes one operation, which is lowered to what is fastest on each platform: on CPU
    a few images at a time where a batch would leave the cache, and native kernels where they are
    faster (`ops.convolution`). Results agree to rounding. Paths and names stay, so the copy can
    be saved, jitted, differentiated, mapped, sharded and exported like the model. `train` has no
    effect on its blocks: nothing is dropped in them.

    Call it as ``jax.jit(fast)``, whose program holds the weights as they are then: `nnx.jit` of a
    function of the model looks at every variable in each call, which takes milliseconds.

    >>> block = fb.ConvNormAct(3, 8, use_bias=False, rngs=nnx.Rngs(0))
    >>> fast = fb.for_inference(block)
    >>> fast.norm is None, fast.conv.bias.shape
    (True, (8,))
    >>> jax.jit(fast)(jnp.ones((1, 9, 9, 3))).shape
    (1, 9, 9, 8)

    Args:
        model: any module; it is unchanged. An abstract one goes through
            ``nnx.eval_shape(fb.for_inference, model)``.

    Returns:
        The copy, in eval mode, which shares no array with the model.

    Raises:
        ValueError: if a weight or a statistic of the model is abstract; its random streams may be.
    """
    given = _variables(model)
    copy = nnx.merge(*given)
    fold_standardization(copy)
    fold_branches(copy)
    fold_heads(copy)
    fold_batch_norms(copy)
    fold_into_next(copy)
    fold_layer_scales(copy)
    copy.eval()
    for _, module in list(nnx.iter_modules(copy)):
        if has_forms(type(module).__call__):
            _convert(module)
    _copy_shared(copy, given)
    return copy


def _variables(model: M) -> tuple[nnx.GraphDef[M], Any, Any]:
    """Return the model's structure, and variables of their own with its arrays."""
    graphdef, streams, state = cast(
        tuple[nnx.GraphDef[M], Any, Any], nnx.split(model, nnx.RngState, ...)
    )
    if any(_is_abstract(leaf) for leaf in jax.tree.leaves(state)):
        raise ValueError(
            "`model` is abstract and has no weights; "
            "nnx.eval_shape(fb.for_inference, model) gives the shapes of the copy"
        )
    return graphdef, jax.tree.map(_started, streams), jax.tree.map(_same, state)


def _same(leaf: Any) -> Any:
    return leaf


def _copy_shared(copy: nnx.Module, given: Any) -> None:
    """Replace what is left of the given arrays by copies.

    Not sooner: what is folded would be in memory three times.
    """
    theirs = {id(array) for array in jax.tree.leaves(given)}
    leaves, tree = jax.tree.flatten(nnx.state(copy))
    shared = [i for i, leaf in enumerate(leaves) if id(leaf) in theirs]
    own = jax.device_put([leaves[i] for i in shared], may_alias=False)
    for i, leaf in zip(shared, own, strict=True):
        leaves[i] = leaf
    nnx.update(copy, jax.tree.unflatten(tree, leaves))


def _is_abstract(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _started(leaf: Any) -> Any:
    """Return the start of a random stream where it is abstract, which weights do not tell."""
    return jax.lax.full(leaf.shape, 0, leaf.dtype) if _is_abstract(leaf) else leaf


def _convert(module: nnx.Module) -> None:
    """Make the module's call one operation, without anything random in it."""
    for name, part in list(vars(module).items()):
        if isinstance(part, nnx.Dropout):
            setattr(module, name, nnx.static(None))
    object.__setattr__(module, "__class__", _one_operation(type(module)))


@cache
def _one_operation(kind: type[nnx.Module]) -> type[nnx.Module]:
    """Return a subclass whose call is one operation: that of its base."""

    def call(self: nnx.Module, *arrays: jax.Array, **options: Any) -> jax.Array:
        if options:  # such as the mask of a LayerNorm
            return kind.__call__(self, *arrays, **options)
        return fused(kind.__call__, self, *arrays)

    def reduce(self: nnx.Module) -> tuple[object, ...]:
        # pickle finds classes by name only, and this one has none
        return _new, (kind,), cast(object, self.__getstate__())

    body: dict[str, object] = {"__doc__": kind.__doc__, "__module__": kind.__module__}
    body |= {"__call__": call, "__reduce__": reduce, "operation": staticmethod(kind.__call__)}
    return new_class(kind.__name__, (kind,), exec_body=lambda names: names.update(body))


def _new(kind: type[nnx.Module]) -> nnx.Module:
    return object.__new__(_one_operation(kind))
