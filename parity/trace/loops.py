"""Runs the loops of a program, whose steps are programs of their own."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

Evaluate = Callable[[Any, Sequence[Any]], list[Any]]
"""Runs a closed program on inputs, in other dtypes than it was written for."""


def loop(equation: Any, inputs: Sequence[Any], evaluate: Evaluate) -> list[Any] | None:
    """Return the outputs of a scan or a while loop; None where the equation is neither."""
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return _scan(params, inputs, evaluate)
    return _while(params, inputs, evaluate) if name == "while" else None


def _scan(params: dict[str, Any], inputs: Sequence[Any], evaluate: Evaluate) -> list[Any]:
    first, held = params["num_consts"], params["num_carry"]
    consts, carry, rows = inputs[:first], inputs[first : first + held], inputs[first + held :]

    def step(carry: Any, rows: Any) -> Any:
        outputs = evaluate(params["jaxpr"], [*consts, *carry, *rows])
        return outputs[:held], outputs[held:]

    options = {name: params[name] for name in ("length", "reverse", "unroll")}
    after, stacked = jax.lax.scan(step, list(carry), list(rows), **options)
    return [*after, *stacked]


def _while(params: dict[str, Any], inputs: Sequence[Any], evaluate: Evaluate) -> list[Any]:
    tested, moved = params["cond_nconsts"], params["body_nconsts"]
    consts, own = inputs[:tested], inputs[tested : tested + moved]
    return jax.lax.while_loop(
        lambda carry: evaluate(params["cond_jaxpr"], [*consts, *carry])[0],
        lambda carry: evaluate(params["body_jaxpr"], [*own, *carry]),
        list(inputs[tested + moved :]),
    )
