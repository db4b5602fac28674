"""Performance targets, and whether they are met."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import geometric_mean

from flaxblocks.bench.report.results import Row, by_task
from flaxblocks.bench.sides.contestants import OURS


@dataclass(frozen=True)
class Target:
    """A performance target."""

    name: str  # what it is about
    subjects: str  # the pattern of the subjects that count
    mode: str  # see `Task`
    rivals: tuple[str, ...]  # against whom; where there are several, the fastest at each task
    limit: float  # the bound of the geometric mean over the tasks
    # whether the mean is that of their time over ours, which must be at least the limit; or else of
    # our time over theirs, which must be at most the limit
    is_speedup: bool
    quantity: str = "seconds"  # what counts, a field of `Row`
    every: bool = False  # whether the bound is that of each task, not of their mean

    @property
    def wanted(self) -> str:
        """What is wanted, in words."""
        each = ", each" if self.every else ""
        if self.is_speedup:
            return f"≥ {self.limit:g} x faster{each}"
        return f"≤ {self.limit:g} x their {'memory' if self.quantity == 'memory' else 'time'}{each}"


LAX, COMPILED = ("lax",), ("torch-compile",)
TORCH = ("torch", "torch-compile")
BEST = (*TORCH, "onnxruntime")

NETWORKS = "[a-z]*"
ALL = "[!C]*"  # blocks and networks, not single convolutions

ON_CPU: tuple[Target, ...] = (
    Target("depthwise convolution", "Conv/depthwise*", "infer", LAX, 20, True),
    Target("MBConv", "MBConv/*", "infer", LAX, 10, True),
    Target("MBConv", "MBConv/*", "train", LAX, 6, True),
    Target("EfficientNet-B0", "efficientnet_b0", "infer", LAX, 8, True),
    Target(
        "EfficientNet-B0, compiling", "efficientnet_b0", "infer", LAX, 1.5, False, "compile_seconds"
    ),
    Target("blocks and networks", ALL, "infer", BEST, 0.8, False),
    Target("each block and network", ALL, "infer", BEST, 1.0, False, every=True),
    Target("blocks and networks", ALL, "train", TORCH, 0.85, False),
    Target("each block and network", ALL, "train", TORCH, 1.0, False, every=True),
    Target("networks' memory", NETWORKS, "infer", BEST, 1.1, False, "memory", every=True),
    Target("networks' memory", NETWORKS, "train", TORCH, 1.1, False, "memory", every=True),
)

ON_ACCELERATORS: tuple[Target, ...] = (
    Target("networks", NETWORKS, "step", COMPILED, 0.9, False),
    Target("each network", NETWORKS, "step", COMPILED, 1.0, False, every=True),
    Target("networks", NETWORKS, "infer", COMPILED, 0.85, False),
)


@dataclass(frozen=True)
class Verdict:
    """Whether a target is met, and by how much."""

    target: Target  # it
    mean: float  # the geometric mean over the tasks
    worst: float  # the task that is furthest from the limit
    tasks: int  # how many there are

    @property
    def met(self) -> bool:
        """Whether the mean, or each task where that is asked for, is within the limit."""
        measured = self.worst if self.target.every else self.mean
        limit = self.target.limit
        return measured >= limit if self.target.is_speedup else measured <= limit


def verdicts(rows: Sequence[Row], device: str, ours: str = OURS.name) -> Iterator[Verdict]:
    """Yield a verdict on each target that the rows have tasks for, for one of our contestants.

    Args:
        rows: what was measured on one device.
        device: what JAX calls it, see `Ceilings`.
        ours: the contestant that is judged.
    """
    for target in ON_CPU if device == "cpu" else ON_ACCELERATORS:
        ratios = [ratio for task in by_task(rows) for ratio in _ratio(target, task, ours)]
        if ratios:
            worst = min(ratios) if target.is_speedup else max(ratios)
            yield Verdict(target, geometric_mean(ratios), worst, len(ratios))


def _ratio(target: Target, task: dict[str, Row], name: str) -> list[float]:
    if name not in task:
        return []
    ours = task[name]
    rivals = [getattr(task[name], target.quantity) for name in target.rivals if name in task]
    theirs = [measured for measured in rivals if measured is not None]
    counts = fnmatchcase(ours.subject, target.subjects) and ours.mode == target.mode
    own = getattr(ours, target.quantity)
    if not counts or not theirs or own is None:
        return []
    ratio = min(theirs) / own
    return [ratio if target.is_speedup else 1 / ratio]
