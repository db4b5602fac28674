"""The contestants by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from flaxblocks.bench.tasks.task import MODES, Prepare


@dataclass(frozen=True)
class Contestant:
    """A library that can run tasks."""

    name: str  # what tables call it
    # where its function is, ``package.module:function``, which is imported in the contestant's own
    # process only
    prepare: str
    needs: tuple[str, ...] = ()  # packages that it cannot do without
    modes: tuple[str, ...] = MODES  # the modes it has

    def missing(self) -> list[str]:
        """Return the packages that it needs and that are not installed."""
        return [package for package in self.needs if find_spec(package) is None]

    def load(self) -> Prepare:
        """Import its packages and its function."""
        for package in self.needs:
            import_module(package)
        module, _, function = self.prepare.partition(":")
        return getattr(import_module(module), function)


OURS = Contestant("flaxblocks", "flaxblocks.bench.sides.jax_side:fast")

# A whole step takes a minute to compile; what plain convolutions cost, their own rows say.
BUT_STEP = ("infer", "train", "input", "kernel")

RIVALS: tuple[Contestant, ...] = (
    Contestant("lax", "flaxblocks.bench.sides.jax_side:plain", modes=BUT_STEP),
    Contestant("torch", "flaxblocks.bench.sides.torch_side:eager", ("torch",)),
    Contestant(
        "torch-compile",
        "flaxblocks.bench.sides.torch_side:compiled",
        ("torch",),
        ("infer", "train", "step"),
    ),
    Contestant(
        "onnxruntime",
        "flaxblocks.bench.sides.onnx_side:session",
        ("onnxruntime", "onnxscript", "torch"),
        ("infer",),
    ),
    Contestant("xla", "flaxblocks.bench.sides.jax_side:without", modes=BUT_STEP),
    Contestant("native", "flaxblocks.bench.sides.jax_side:native", modes=BUT_STEP),
)
"""Those that `--against` can name.

`lax` is flaxblocks with JAX's own convolutions, `native` with a native kernel wherever there is
one, `xla` with none.
"""


def rivals(names: Sequence[str]) -> tuple[list[Contestant], list[str]]:
    """Return the named contestants that can run here, and a line about each that cannot.

    Raises:
        ValueError: if a name is unknown.
    """
    known = {rival.name: rival for rival in RIVALS}
    for name in names:
        if name not in known:
            raise ValueError(f"`--against` must be among {', '.join(known)}, got {name!r}")
    chosen = [known[name] for name in dict.fromkeys(names)]
    notes = [
        f"{rival.name} does not take part: {', '.join(missing)} is not installed"
        for rival in chosen
        if (missing := rival.missing())
    ]
    there = [rival for rival in chosen if not rival.missing()]
    notes += [
        f"{rival.name} only does {rival.modes[0]}" for rival in there if rival.modes[1:] == ()
    ]
    return there, notes
