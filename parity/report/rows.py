"""The rows of a comparison's report."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, cast

WHOLE = "the whole module"
"""The path of the compared module itself, as a report says it."""


@dataclass(frozen=True)
class Row:
    """One comparison of one quantity.

    Args:
        check: the check it belongs to, such as ``"gradients"``.
        quantity: what was compared: a layer's path, a parameter's name, an optimizer's loss.
        value: how far apart the two sides are; the unit is the check's.
        limit: how far they may be.
        ok: whether that holds; None where the check does not apply.
        detail: a few words more, for a person.
        torch_value: PyTorch's own error, where the check compares two errors.
    """

    check: str
    quantity: str
    value: float
    limit: float
    ok: bool | None
    detail: str = ""
    torch_value: float | None = None

    @classmethod
    def judged(
        cls,
        check: str,
        quantity: str,
        value: float,
        limit: float,
        detail: str = "",
        torch_value: float | None = None,
    ) -> "Row":
        """Return a row that is right where `value` is at most `limit`."""
        value, limit = float(value), float(limit)
        return cls(check, quantity, value, limit, value <= limit, detail, torch_value)


@dataclass(frozen=True)
class Step:
    """One of PyTorch's operations in eval mode, in the order of computation, and JAX's beside it.

    Args:
        kind: what PyTorch's operation is called.
        theirs: the path of PyTorch's module that calls it.
        ours: of JAX's beside that.
        place: what causes call it.
        line: where the module's code calls it: file and line.
        state: ``"equal"`` where JAX holds the same values; ``"laid out"`` where this only lays
            such values out; ``"joined"`` where JAX holds none, as it joins this operation with a
            later one that agrees; ``"differs"``.
        error: how far apart equal values are, as a fraction of their scale.
        beside: JAX's primitives that compute it, or that are there in its place, with their lines.
    """

    kind: str
    theirs: str
    ours: str
    place: str
    line: str
    state: str
    error: float | None = None
    beside: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Report:
    """The result of `parity.compare`.

    Args:
        name: what was compared.
        rows: every comparison made.
        causes: for each divergence, the first layer where it shows and the likely reason.
        parameters: the number of parameters in PyTorch and in JAX.
        seconds: how long the comparison took.
        layers: each layer's errors, as `parity.checks.layer_errors.layer_errors` gives them.
        names: the name in JAX of each of PyTorch's tensors that has a counterpart.
        places: of each cause, where it holds, in the order of the data.
        operations: PyTorch's operations, where they were recorded.
    """

    name: str
    rows: tuple[Row, ...]
    causes: tuple[str, ...] = ()
    parameters: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    layers: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    names: dict[str, Any] = field(default_factory=dict[str, Any])
    places: tuple[tuple[str, ...], ...] = ()
    operations: tuple[Step, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return all(row.ok is not False for row in self.rows)

    @property
    def checks(self) -> tuple[str, ...]:
        """The checks that were made, in order."""
        return tuple(dict.fromkeys(row.check for row in self.rows))

    def of(self, check: str) -> tuple[Row, ...]:
        """Return one check's rows."""
        return tuple(row for row in self.rows if row.check == check)

    def passed(self, check: str) -> bool | None:
        """Return whether a check passed; None where it was not made or does not apply."""
        verdicts = [row.ok for row in self.of(check) if row.ok is not None]
        return all(verdicts) if verdicts else None

    def worst(self, check: str) -> Row | None:
        """Return the row of a check that is furthest from right; None where there is none."""
        rows = [row for row in self.of(check) if row.ok is not None]
        return max(rows, key=_badness, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold; an infinite difference is null."""
        return {"ok": self.ok, **_finite(asdict(self))}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Report":
        """Return the report that `to_dict` wrote."""
        rows: list[dict[str, Any]] = [
            {**row, "value": _infinite(row["value"])} for row in data["rows"]
        ]
        return cls(
            data["name"],
            tuple(Row(**row) for row in rows),
            tuple(data["causes"]),
            (data["parameters"][0], data["parameters"][1]),
            data["seconds"],
            data["layers"],
            data.get("names", {}),
            tuple(tuple(places) for places in data.get("places", ())),
            tuple(_step(step) for step in data.get("operations", ())),
        )

    def to_json(self, indent: int | None = 2) -> str:
        """Return everything as JSON."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def __str__(self) -> str:
        head = f"{self.name}: {'equal' if self.ok else 'DIFFERENT'}"
        counts = "{:,} parameters in PyTorch, {:,} in JAX".format(*self.parameters)
        return "\n".join([f"{head} ({counts})", *self.lines, *self.causes])

    @property
    def lines(self) -> list[str]:
        """A line for each check: whether it passed, and its worst row."""
        return [*self._lines()]

    def _lines(self) -> Iterable[str]:
        for check in self.checks:
            row, verdict = self.worst(check), self.passed(check)
            if row is None:
                yield f"  n/a   {check:<11} {self.of(check)[0].detail}"
                continue
            mark = "ok  " if verdict else "FAIL"
            beside = "" if row.torch_value is None else f", PyTorch's own {row.torch_value:.1e}"
            detail = f"; {row.detail}" if row.detail else ""
            yield (
                f"  {mark}  {check:<11} worst {row.value:.1e} of {row.limit:.1e}{beside}"
                f" at {row.quantity}{detail}"
            )


def _step(data: dict[str, Any]) -> Step:
    read: dict[str, Any] = {**data, "beside": tuple((k, line) for k, line in data["beside"])}
    return Step(**read)


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in cast(dict[str, Any], data).items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in cast(Sequence[Any], data)]
    return None if isinstance(data, float) and not isfinite(data) else data


def _infinite(value: float | None) -> float:
    return float("inf") if value is None else value


def _badness(row: Row) -> tuple[bool, float]:
    return (not row.ok, row.value / row.limit if row.limit else row.value)


def label(path: str, i: int | None = None, mode: str = "") -> str:
    """Return how a row calls a layer: its path, the mode, and the number of the input."""
    where = path or WHOLE
    notes = [mode] if mode else []
    notes += [] if i is None else [f"input {i}"]
    return f"{where} ({', '.join(notes)})" if notes else where
