# pyright: basic
"""What is used of JAX beyond its public interfaces, in this file alone.

A new operation needs a primitive and its rules (`jax.extend.core`, `jax.interpreters`), a switch
that `jax.jit` knows of needs a user context, and runs of several processes need to wait for each
other. JAX may move any of these between two releases; what a release lacks is answered here.
"""

from collections.abc import Callable
from typing import Any

import jax

try:
    from jax.core import ShapedArray as ShapedArray
    from jax.extend.core import ClosedJaxpr as ClosedJaxpr
    from jax.extend.core import Jaxpr as Jaxpr
    from jax.extend.core import JaxprEqn as JaxprEqn
    from jax.extend.core import Literal as Literal
    from jax.extend.core import Primitive as _Primitive
    from jax.extend.core import jaxpr_as_fun as _jaxpr_as_fun
    from jax.interpreters import ad as _ad
    from jax.interpreters import batching as _batching
    from jax.interpreters import mlir as mlir
    from jax.interpreters.xla import apply_primitive as _apply_primitive

    # JAX says of these next to nothing to a type checker.
    Primitive: Any = _Primitive
    ad: Any = _ad
    batching: Any = _batching
    apply_primitive: Any = _apply_primitive
    jaxpr_as_fun: Callable[[ClosedJaxpr], Callable[..., list[jax.Array]]] = _jaxpr_as_fun
    lower_fun: Callable[..., Callable[..., Any]] = mlir.lower_fun
    register_lowering: Callable[..., None] = mlir.register_lowering
    LoweringRuleContext = mlir.LoweringRuleContext
    make_user_context: Callable[[Any], Any] = jax.make_user_context
except (ImportError, AttributeError) as error:
    raise ImportError(
        f"flaxblocks needs what jax {jax.__version__} has no more ({error}): "
        "pip install 'jax>=0.10.2,<0.13'"
    ) from error


def varying_axes(x: jax.Array) -> frozenset[str]:
    """Return the axes of a `jax.shard_map` over which an array varies; none outside of one.

    None either where a JAX has another way to say so: its own operations then refuse to mix arrays
    that vary and those that do not, and nothing is computed wrongly.
    """
    kind = getattr(jax.typeof(x), "manual_axis_type", None)
    return frozenset() if kind is None else kind.varying


def placed_like(x: jax.Array, shape: tuple[Any, ...]) -> jax.ShapeDtypeStruct:
    """Return the description of an array of another shape, placed and varying as `x` is.

    Args:
        x: the array.
        shape: the other shape, which may hold dimensions that are open.
    """
    kind = jax.typeof(x)
    varying = getattr(kind, "manual_axis_type", None)
    more = {} if varying is None else {"manual_axis_type": varying}
    return jax.ShapeDtypeStruct(shape, x.dtype, sharding=kind.sharding, **more)


def is_for_one_device(module: Any) -> bool:
    """Return whether a program that is being lowered is for one device; no where nothing tells.

    Args:
        module: JAX's context of the lowering.
    """
    return getattr(getattr(module, "axis_context", None), "num_devices", None) == 1


def is_exported(module: Any) -> bool:
    """Return whether a program that is being lowered is exported; yes where nothing tells.

    Args:
        module: JAX's context of the lowering.
    """
    return getattr(getattr(module, "lowering_parameters", None), "for_export", True)


def wait_for_processes(what: str) -> None:
    """Wait until all processes have called this.

    Args:
        what: what they all have done, for the error where one does not come.
    """
    if jax.process_count() > 1:
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices(what)


def processes_are_to_stop(step: int) -> bool:
    """Return whether one of several processes was told to end, and all are to stop at this step.

    Args:
        step: number of steps so far; all processes must call this at each step.

    Raises:
        RuntimeError: if JAX's preemption service is disabled.
    """
    from jax.experimental.multihost_utils import reached_preemption_sync_point

    return reached_preemption_sync_point(step)
