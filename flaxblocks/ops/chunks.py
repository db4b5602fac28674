# pyright: reportUnknownMemberType=false
"""A few images at a time, so that what a CPU computes stays in its cache."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import jax
from jax import lax

from flaxblocks._base.jax_internals import Jaxpr, JaxprEqn, Literal
from flaxblocks.ops.fused import Form, Operation, fused, fused_p, in_form
from flaxblocks.ops.jaxprs import jaxprs_in
from flaxblocks.ops.native.choice import kernels_in
from flaxblocks.ops.program import Program
from flaxblocks.ops.switch import implementation

# Bytes that the widest array within may take. With 2 cores and 1 MB of private cache each, an
# MBConv on 8x56x56, 24 to 144 channels, takes 20 ms at once and 7 ms in chunks; past about 10 MB it
# takes twice as long and more, below 4 MB the smaller products cost what the cache saves.
CACHE = 10 * 2**20

# Bytes of temporary arrays for each that goes into or comes out of a loop over chunks, which is
# copied. A ResNeXt's bottleneck of 256 channels on 8x56x56 has half a byte: it takes 12.5 ms in
# chunks, 9.6 at once. The first stage of a ResNet-50 has 3.6 bytes and takes 5 % less in chunks.
WORTH = 3

Function = Callable[[jax.Array], jax.Array]


def in_chunks(function: Function, x: jax.Array, *, cache: int = CACHE) -> jax.Array:
    """Return ``function(x)``; on CPU, from as many images at a time as fit in the cache.

    The wide array of an inverted residual is written to memory and read back several times when it
    holds a whole batch; that of a few images stays in the cache. A model from `for_inference` does
    this by itself. The choice is made for the platform that the program is lowered for: elsewhere,
    and in ``convolution("lax")``, it is one call.

    >>> block = fb.MBConv(8, 8, rngs=nnx.Rngs(0))
    >>> block.eval()
    >>> fb.ops.in_chunks(block, jnp.ones((4, 9, 9, 8))).shape
    (4, 9, 9, 8)

    Args:
        function: maps each image by itself and has no side effects: a module in eval mode, not in
            train mode.
        x: images, of shape ``(n, ...)``. Chunks divide `n`, so a prime one makes chunks of 1.
        cache: bytes that the widest array may take; it is one call where the temporary arrays in
            `function` fit as they are, or are too few to be worth copying images and results.

    Returns:
        The result, of shape ``(n, ...)``.
    """

    def once(x: jax.Array) -> jax.Array:
        # A new function each time: JAX caches the trace, and with it the weights, of one it has
        # seen.
        return function(x)

    if implementation.value == "lax":
        return function(x)
    program = Program(kernels_in(implementation.value), one_device=True)
    chunk = _chunk(once, x, cache, program)
    if chunk is None:
        return function(x)
    return cast(
        jax.Array, lax.platform_dependent(x, cpu=partial(_mapped, once, chunk), default=once)
    )


def chunked(operation: Operation) -> Form:
    """Return the form of an operation that takes a few images at a time.

    Args:
        operation: a function of modules and, last, images; see `in_chunks`.
    """

    def form(program: Program, *operands: Any) -> jax.Array | None:
        *modules, x = operands
        function = partial(fused, operation, *modules)
        chunk = _chunk(function, x, CACHE, program) if program.one_device else None
        return None if chunk is None else _mapped(function, chunk, x)

    return form


def _mapped(function: Function, chunk: int, x: jax.Array) -> jax.Array:
    y = cast(jax.Array, lax.map(function, x.reshape(-1, chunk, *x.shape[1:])))
    return y.reshape(-1, *y.shape[2:])


def _chunk(function: Function, x: jax.Array, cache: int, program: Program) -> int | None:
    """Return how many images to take at a time, None for all."""
    n: Any = x.shape[0]
    if not isinstance(n, int) or n <= 1:  # the size may be known only when the program runs
        return None
    one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    jaxpr = jax.make_jaxpr(function)(one).jaxpr
    copied = [_bytes(variable) for variable in (*jaxpr.invars, *jaxpr.outvars)]
    temporary = [_bytes(v) for v in _temporaries(jaxpr, set(jaxpr.invars), program)]
    if n * max(temporary, default=0) <= cache or sum(temporary) < WORTH * sum(copied):
        return None
    widest = max(*temporary, *copied)
    sizes = (size for size in range(1, n) if n % size == 0 and size * widest <= cache)
    return max(sizes, default=1)


def _temporaries(jaxpr: Jaxpr, of_images: set[Any], program: Program) -> Iterator[Any]:
    """Yield the variables that are made of the images and are not results.

    What the function takes and returns is in memory anyway, and the results of one within are its
    caller's. What is made of weights alone is as large for any number of images.
    """
    for equation in jaxpr.eqns:
        reads = [not isinstance(v, Literal) and v in of_images for v in equation.invars]
        if not any(reads):
            continue
        of_images.update(equation.outvars)
        yield from (v for v in equation.outvars if v not in jaxpr.outvars)
        for inner in _within(equation, program):
            yield from _temporaries(inner, _reading(inner, reads), program)


def _reading(inner: Jaxpr, reads: list[bool]) -> set[Any]:
    """Return the arguments that are made of the images, given which operands are.

    All of them where they are not the operation's operands, one for one.
    """
    if len(inner.invars) != len(reads):
        return set(inner.invars)
    return {variable for variable, read in zip(inner.invars, reads, strict=True) if read}


def _within(equation: JaxprEqn, program: Program) -> list[Jaxpr]:
    """Return the functions that the operation calls when it is lowered for CPU."""
    if equation.primitive is not fused_p:
        return jaxprs_in(equation)
    avals: list[Any] = [variable.aval for variable in equation.invars]
    types = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    return [jax.make_jaxpr(in_form("cpu", program, equation))(*types).jaxpr]


def _bytes(variable: Any) -> int:
    array = variable.aval
    return array.size * array.dtype.itemsize if hasattr(array, "dtype") else 0
