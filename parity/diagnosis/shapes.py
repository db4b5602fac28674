"""What the shape of a kernel says where the two sides' differ."""

from collections.abc import Iterator

from torch import nn

from parity.diagnosis.sentences import Cause
from parity.sides.pairing import Pair
from torch_ref.harness.passes import modules_of

Shape = tuple[int, ...]


def in_shapes(pair: Pair) -> Iterator[Cause]:
    """Yield a cause for each parameter that only differs in shape."""
    layers = modules_of(pair.torch_module)
    for name, theirs, ours in pair.misshapen:
        path = name.rpartition(".")[0]
        reason = _reason(layers[path], theirs, ours) or "shapes differ, cause unknown"
        text = f"{reason} ({name} is {theirs} in PyTorch, {ours} in JAX)"
        yield Cause(text, (path or "the whole module",), "any")


def _reason(layer: nn.Module, theirs: Shape, ours: Shape) -> str | None:
    if len(theirs) != len(ours) or len(theirs) < 2:
        return None
    groups, channels = getattr(layer, "groups", 1), getattr(layer, "in_channels", 0)
    rest = theirs[:1] + theirs[2:], ours[:1] + ours[2:]
    if channels and rest[0] == rest[1] and channels % ours[1] == 0:
        return f"groups: JAX convolves in {channels // ours[1]} groups, PyTorch in {groups}"
    if theirs[:2] == ours[:2] and theirs[2:] == ours[:1:-1]:
        return "layout: the kernel's height and width are swapped"
    if theirs[2:] == ours[2:] and theirs[:2] == ours[1::-1]:
        return "layout: the kernel's input and output channels are swapped"
    return None
