"""What training scripts put before the names of a network's tensors."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.")
"""Of data parallel training, `torch.compile`, Lightning, and networks that wrap another one."""

AVERAGED = "n_averaged"  # the counter that torch's AveragedModel adds to the weights


def without_prefixes(tensors: Mapping[str, T], needed: Collection[str]) -> Mapping[str, T]:
    """Drop the prefixes that all the names have, one inside the other, and the module has not.

    Args:
        tensors: a state dict.
        needed: the names that the module wants: a prefix that it has itself is left alone.

    Returns:
        The state dict, or one with shorter names.
    """
    names = dict.fromkeys(tensors)
    names.pop(AVERAGED, None)
    short = {name: name for name in names}
    while short:
        prefix = next((p for p in PREFIXES if all(n.startswith(p) for n in short.values())), None)
        if prefix is None or any(name.startswith(prefix) for name in needed):
            break
        short = {name: rest.removeprefix(prefix) for name, rest in short.items()}
    changed = any(name != rest for name, rest in short.items())
    return {rest: tensors[name] for name, rest in short.items()} if changed else tensors


def common_prefix(given: Iterable[str], wanted: Collection[str]) -> str:
    """Return what most often stands before a wanted name in the given ones; empty for nothing."""
    found: Counter[str] = Counter()
    for name in given:
        parts = name.split(".")
        for place in range(1, len(parts)):
            if ".".join(parts[place:]) in wanted:
                found[".".join(parts[:place]) + "."] += 1
                break
    return found.most_common(1)[0][0] if found else ""
