# pyright: reportUnknownMemberType=false
"""A JAX function's run as its jaxpr, of which every intermediate value is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks._base.jax_internals import Literal
from flaxblocks.ops import conv_general_dilated
from parity.trace.constants import DIGITS, unrounded
from parity.trace.equations import equations_of, inner_of, line_of
from parity.trace.loops import loop
from parity.trace.nearly import nearly_equal

_LAYOUT = {
    *("reshape", "transpose", "squeeze", "broadcast_in_dim", "copy", "stop_gradient"),
    *("expand_dims", "convert_element_type"),
}
_DTYPES = ("new_dtype", "dtype", "preferred_element_type", "out_dtype")
_EXACT = frozenset(DIGITS)  # dtypes that are left out where nothing is to be rounded
QUICK: dict[str, bool | int] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
"""What makes XLA compile for CPU without optimizing machine code."""
if jax.__version_info__ < (0, 11):  # whose XLA has another way to emit loops
    QUICK["xla_cpu_use_fusion_emitters"] = False  # half of the time, even so
SMALLEST = 2  # values; fewer are parts of other things
Maker = tuple[str, str]  # a primitive, and the line of the code that calls it


@dataclass(frozen=True, eq=False)
class Value:
    """An intermediate of the program."""

    array: np.ndarray
    kind: str  # the primitive that computes it
    line: str  # of the code that does: file and line


@dataclass(frozen=True, eq=False)
class JaxProgram:
    """A function's jaxpr in float64 and the arrays it runs on."""

    jaxpr: Any  # closed
    arguments: Sequence[Any]  # its flat inputs
    structure: Any  # of its outputs

    @classmethod
    def of(cls, function: Callable[..., Any], *arguments: Any) -> "JaxProgram":
        """Return the program of a function of arrays."""
        jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        return cls(jaxpr, jax.tree.leaves(arguments), jax.tree.structure(shapes))

    @cached_property
    def equations(self) -> list[Any]:
        """Every equation, those of inner programs too."""
        return list(equations_of(self.jaxpr.jaxpr))

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        """The numbers that stand in the program, such as an eps or a slope, in their order."""
        literals = [
            v.val
            for e in self.equations
            for v in e.invars
            if isinstance(v, Literal) and np.ndim(v.val) == 0 and _is_number(v.val)
        ]
        found = [x for v in literals for x in (float(v), _plain(v))]
        scalars = [*self.jaxpr.consts, *self.arguments]
        found += [float(a) for a in scalars if np.size(a) == 1 and _is_number(a)]
        return tuple(dict.fromkeys(x for x in found if np.isfinite(x)))

    @cached_property
    def lowered(self) -> list[tuple[str, str]]:
        """Where values are rounded to a narrower dtype than float64: line and dtype."""
        found: list[tuple[str, str]] = []
        for equation in self.equations:
            if not any(np.size(v.aval) >= SMALLEST for v in equation.invars if hasattr(v, "aval")):
                continue
            dtype = _narrower(equation)
            if dtype is not None:
                found.append((line_of(equation), dtype))
        return list(dict.fromkeys(found))

    def values(
        self,
        exact: bool = False,
        stepwise: bool = False,
        arguments: Sequence[Any] | None = None,
        plain: Sequence[float] = (),
    ) -> tuple[list[Value], Any]:
        """Return the intermediates and the outputs, as NumPy arrays.

        Args:
            exact: whether to leave out every rounding to a narrower dtype.
            stepwise: whether to run one operation at a time. Each is compiled when it is first
                met, which takes longer for one program and less for many that are alike.
            arguments: flat inputs in place of the program's own.
            plain: numbers that the program's own stand for where rounding made them so, if exact.
        """
        run, makers = self._recorder(exact, stepwise, tuple(plain))
        given = self.arguments if arguments is None else arguments
        arrays, outputs = run([_wide(a, _EXACT) for a in given] if exact else given)
        values = [
            Value(np.asarray(a, np.float64), *made) for a, made in zip(arrays, makers, strict=True)
        ]
        return values, jax.tree.unflatten(self.structure, [np.asarray(o) for o in outputs])

    def widened(self, arguments: Any) -> Any:
        """Return the outputs of these arguments where float32 is float64 throughout."""
        dtypes = frozenset(("float32",))
        outputs = _evaluate(
            self.jaxpr.jaxpr, self.jaxpr.consts, jax.tree.leaves(arguments), None, dtypes
        )
        return jax.tree.unflatten(self.structure, outputs)

    def outputs(self, arguments: Any) -> Any:
        """Return the outputs of arguments like its own; what rounding tells apart is equal."""
        leaves = jax.tree.leaves(arguments)
        outputs = _evaluate(
            self.jaxpr.jaxpr, self.jaxpr.consts, leaves, None, frozenset(), special=nearly_equal
        )
        return jax.tree.unflatten(self.structure, outputs)

    @cached_property
    def _recorders(self) -> dict[Any, tuple[Callable[..., Any], list[Maker]]]:
        return {}

    def _recorder(self, *how: Any) -> tuple[Callable[..., Any], list[Maker]]:
        """Return what runs the program, and what makes its values, known after a run."""
        if how not in self._recorders:
            self._recorders[how] = self._made(*how)
        return self._recorders[how]

    def _made(
        self, exact: bool, stepwise: bool, plain: Sequence[float]
    ) -> tuple[Callable[..., Any], list[Maker]]:
        makers: list[Maker] = []

        def run(arguments: Sequence[Any]) -> Any:
            kept: list[tuple[Any, Maker]] = []
            dtypes = _EXACT if exact else frozenset[str]()
            outputs = _evaluate(self.jaxpr.jaxpr, self.jaxpr.consts, arguments, kept, dtypes, plain)
            makers[:] = [maker for _, maker in kept]
            return [array for array, _ in kept], outputs

        return (run if stepwise else jax.jit(run, compiler_options=QUICK)), makers

    def read_order(self) -> list[int]:
        """Return which flat inputs are read, the first read first; laying out is no reading."""
        seen: dict[int, None] = {}
        _read(self.jaxpr.jaxpr, list(range(len(self.jaxpr.jaxpr.invars))), seen)
        return list(seen)


def _read(jaxpr: Any, origins: list[Any], seen: dict[int, None]) -> list[Any]:
    known: dict[Any, Any] = dict(zip(jaxpr.invars, origins, strict=True))
    for equation in jaxpr.eqns:
        own = [None if isinstance(v, Literal) else known.get(v) for v in equation.invars]
        inner = inner_of(equation)
        if inner is not None:
            outputs = _read(inner.jaxpr, own, seen)
        elif equation.primitive.name in _LAYOUT | {"rev"}:
            outputs = own[:1]
        else:
            outputs = [None] * len(equation.outvars)
            seen |= {origin: None for origin in own if origin is not None}
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [None if isinstance(v, Literal) else known.get(v) for v in jaxpr.outvars]


def _evaluate(
    jaxpr: Any,
    consts: Sequence[Any],
    arguments: Sequence[Any],
    kept: list[Any] | None,
    dtypes: frozenset[str],
    plain: Sequence[float] = (),
    called: str = "",
    special: Callable[[Any, Sequence[Any]], list[Any] | None] = lambda equation, inputs: None,
) -> list[Any]:
    """Run a program, with what is of these dtypes in float64; `called` is the line that does.

    What it computes is added to `kept`, if that is a list; `plain` are numbers that its own stand
    for where one is the same; `special` may compute an equation's outputs in another way.
    """
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    known |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(atom: Any) -> Any:
        if not isinstance(atom, Literal):
            return _wide(known[atom], dtypes)
        is_number = str(jnp.result_type(atom.val)) in dtypes and np.ndim(atom.val) == 0
        return jnp.float64(_plain(atom.val, plain)) if is_number else _wide(atom.val, dtypes)

    def step(program: Any, inputs: Sequence[Any]) -> list[Any]:
        return _evaluate(program.jaxpr, program.consts, inputs, None, dtypes, plain, "", special)

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        inner = inner_of(equation)
        if inner is not None:
            line = called if kept is None else line_of(equation) or called
            outputs = _evaluate(
                inner.jaxpr, inner.consts, inputs, kept, dtypes, plain, line, special
            )
        elif dtypes == _EXACT and equation.primitive.name == "reduce_precision":
            outputs = inputs
        else:
            outputs = special(equation, inputs)
            if outputs is None and (dtypes or kept is None):
                outputs = loop(equation, inputs, step)
            if outputs is None:
                outputs = _bound(equation, inputs, dtypes)
        if kept is not None and inner is None and equation.primitive.name not in _LAYOUT:
            maker = equation.primitive.name, line_of(equation) or called
            kept += [(x, maker) for x in outputs if x.size >= SMALLEST and _is_number(x)]
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _bound(equation: Any, inputs: Sequence[Any], dtypes: frozenset[str]) -> list[Any]:
    params = dict(equation.params)
    for name in _DTYPES:
        if params.get(name) is not None and str(jnp.dtype(params[name])) in dtypes:
            params[name] = jnp.dtype("float64")
    if _is_grouped(equation) and inputs[0].dtype == jnp.float64:
        return [conv_general_dilated(*inputs, **params)]  # XLA's takes gigabytes in float64
    outputs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(params))
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def _narrower(equation: Any) -> str | None:
    if equation.primitive.name == "reduce_precision":
        bits = equation.params["exponent_bits"], equation.params["mantissa_bits"]
        return {(8, 10): "TF32", (8, 7): "bfloat16", (5, 10): "float16"}.get(
            bits, f"{bits[1]} bits"
        )
    if equation.primitive.name != "convert_element_type":
        return None
    old, new = equation.invars[0].aval.dtype, equation.params["new_dtype"]
    narrower = jnp.issubdtype(old, jnp.floating) and str(new) in _EXACT
    return str(new) if narrower and old.itemsize > np.dtype(new).itemsize else None


def _wide(value: Any, dtypes: frozenset[str]) -> Any:
    return jnp.asarray(value, "float64") if str(jnp.result_type(value)) in dtypes else value


def _is_grouped(equation: Any) -> bool:
    is_convolution = equation.primitive.name == "conv_general_dilated"
    return is_convolution and equation.params["feature_group_count"] > 1


def _plain(value: Any, known: Sequence[float] = ()) -> float:
    return unrounded(float(value), str(jnp.result_type(value)), tuple(known))


def _is_number(value: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(value), jnp.floating))
