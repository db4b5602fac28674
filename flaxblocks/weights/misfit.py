"""Why a state dict does not fit: the likeliest cause first, then the first differences."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod

from flaxblocks.models.registry import records
from flaxblocks.weights.arrays import shown
from flaxblocks.weights.entries import COUNTER, Entry
from flaxblocks.weights.prefixes import common_prefix

Shapes = Mapping[str, tuple[int, ...]]

SHOWN = 5  # of the differences of each kind

STATISTICS = ("running_mean", "running_var", COUNTER)


def misfit(
    wanted: Mapping[str, Entry], given: Shapes, head: Iterable[str], others: Mapping[str, Shapes]
) -> str | None:
    """Return what is wrong, in at most 20 lines; None where everything fits.

    Args:
        wanted: the module's tensors by name.
        given: the shapes that the state dict has, by name.
        head: names of the classifier's tensors, where the module has one.
        others: shapes of the module's tensors by the names of other vendors.

    A missing count of batches is no misfit.
    """
    wanted = {n: e for n, e in wanted.items() if n in given or not n.endswith(COUNTER)}
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    misshapen = [n for n, e in wanted.items() if n in given and given[n] != e.shape]
    if not (missing or unexpected or misshapen):
        return None
    shapes = {name: entry.shape for name, entry in wanted.items()}
    cause = next(_causes(shapes, given, set(head), others), "")
    lines = [
        *_some("missing", missing, lambda n: f"{n}, shape {_told(shapes[n])}"),
        *_some("unexpected", unexpected, lambda n: f"{shown(n)}, shape {_told(given[n])}"),
        *_some(
            "misshapen", misshapen, lambda n: f"{n}: {_told(given[n])} given, {shapes[n]} needed"
        ),
    ]
    return f"{cause}:\n  " + "\n  ".join(lines)


def _some(kind: str, names: Sequence[str], describe: Callable[[str], str]) -> Iterator[str]:
    yield from (f"{kind} {describe(name)}" for name in names[:SHOWN])
    if len(names) > SHOWN:
        yield f"and {len(names) - SHOWN} more {kind}"


def _told(shape: tuple[int, ...]) -> str:
    return shown(str(shape))


def _causes(
    wanted: Shapes, given: Shapes, head: set[str], others: Mapping[str, Shapes]
) -> Iterator[str]:
    """Yield what the cause may be, the likeliest first."""
    fitting = sum(wanted.get(name) == shape for name, shape in given.items())
    if wanted.keys() != given.keys():
        vendors = [
            f'`names="{v}"`' for v, theirs in others.items() if theirs.keys() == given.keys()
        ]
        if vendors:
            yield f"; these are the names of {' and of '.join(vendors)}"
    odd = {n for n in wanted.keys() | given.keys() if wanted.get(n) != given.get(n)}
    if odd and odd <= head:
        yield f"; it has another head{_classes(wanted, given, head)}; `new_head` keeps the module's"
    prefix = common_prefix(given, wanted)
    behind = sum(given.get(prefix + name) == shape for name, shape in wanted.items())
    if prefix and 2 * behind > len(wanted):
        rest = sum(not name.startswith(prefix) for name in given)
        yield f"; its names begin with {shown(prefix)!r}, but for {rest} of another part"
    total = _parameters(given)
    same = [record.name for record in records().values() if record.parameters == total]
    if same and total != _parameters(wanted):
        yield f"; it has as many parameters as {' or '.join(same[:3])}"
    guess = "; it is of another network" if 2 * fitting < len(wanted) else ""
    yield f"{guess}; {fitting} of {len(wanted)} tensors fit"


def _parameters(shapes: Shapes) -> int:
    return sum(prod(shape) for name, shape in shapes.items() if not name.endswith(STATISTICS))


def _classes(wanted: Shapes, given: Shapes, head: set[str]) -> str:
    for name in sorted(head):
        if name in wanted and name in given:
            return f" for `num_classes` {given[name][0]}, the module has {wanted[name][0]}"
    return ""
