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
    quantity: str = "seconds"  # the time that counts, a field of `Row`
    every: bool = False  # whether the bound is that of each task, not of their mean


LAX, TORCH = ("lax",), ("torch", "torch-compile")

COMPILED = ("torch-compile",)
NETWORKS = "[a-z]*"

ON_CPU: tuple[Target, ...] = (
    Target("depthwise convolution", "Conv/depthwise*", "infer", LAX, 20, True),
    Target("MBConv", "MBConv/*", "infer", LAX, 10, True),
    Target("MBConv", "MBConv/*", "train", LAX, 6, True),
    Target("EfficientNet-B0", "efficientnet_b0", "infer", LAX, 8, True),
    Target(
        "EfficientNet-B0, compiling", "efficientnet_b0", "infer", LAX, 1.5, False, "compile_seconds"
    ),
    Target("MBConv", "MBConv/*", "infer", TORCH, 1.0, False),
    Target("MBConv", "MBConv/*", "train", TORCH, 1.5, False),
    Target("ResNet bottleneck", "BottleNeck/resnet*", "infer", TORCH, 1.3, False),
    Target("ResNet bottleneck", "BottleNeck/resnet*", "train", TORCH, 1.3, False),
    Target("ResNeXt bottleneck", "BottleNeck/resnext*", "infer", TORCH, 2.0, False),
    Target("ResNeXt bottleneck", "BottleNeck/resnext*", "train", TORCH, 2.0, False),
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
    theirs = [getattr(task[name], target.quantity) for name in target.rivals if name in task]
    counts = fnmatchcase(ours.subject, target.subjects) and ours.mode == target.mode
    if not counts or not theirs:
        return []
    ratio = min(theirs) / getattr(ours, target.quantity)
    return [ratio if target.is_speedup else 1 / ratio]
