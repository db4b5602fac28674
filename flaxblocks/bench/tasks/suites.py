"""The tasks that belong together, and what the project holds itself to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import geometric_mean

from flaxblocks.bench.report.results import Row, by_task
from flaxblocks.bench.sides.contestants import OURS
from flaxblocks.bench.tasks.subjects import matching
from flaxblocks.bench.tasks.task import Task


@dataclass(frozen=True)
class Plan:
    """Tasks: every combination of what is given.

    Args:
        subjects: names or patterns.
        modes: see `Task`.
        batches: images.
        sizes: height and width in pixels; each subject's own where there are none.
    """

    subjects: tuple[str, ...]
    modes: tuple[str, ...] = ("infer", "train")
    batches: tuple[int, ...] = (1, 8)
    sizes: tuple[int, ...] = ()

    def tasks(self, dtype: str, device: str, threads: int, keep: bool = False) -> list[Task]:
        """Return the tasks; for the arguments see `Task`.

        Raises:
            ValueError: if a name is unknown.
        """
        return [
            Task(one.name, mode, batch, size, dtype, device, threads, keep)
            for one in matching(self.subjects)
            for mode in self.modes
            for batch in self.batches
            for size in self.sizes or (one.size,)
        ]


@dataclass(frozen=True)
class Suite:
    """Plans that are run together, and against whom."""

    plans: tuple[Plan, ...]
    against: tuple[str, ...]


_KINDS = ("efficientnet_b0", "resnet50", "resnext50_32x4d")  # depthwise, dense, grouped

SUITES: dict[str, Suite] = {
    "standard": Suite(
        (
            Plan(("Conv/depthwise*",), ("infer",), (8,)),
            Plan(
                (
                    "MBConv/efficientnet-56",
                    "MBConv/efficientnet-28",
                    "MBConv/efficientnet-14",
                    "MBConv/mobilenet_v2-28",
                    "BottleNeck/resnet50-56",
                    "BottleNeck/resnet50-14",
                    "BottleNeck/resnext50-56",
                    "BottleNeck/resnext50-14",
                )
            ),
            Plan(("efficientnet_b0",), ("infer",)),
            Plan(("efficientnet_b0",), ("train",), (8,)),
        ),
        ("native", "lax", "torch", "torch-compile", "onnxruntime"),
    ),
    "scaling": Suite(
        (
            Plan(_KINDS, ("infer",), (1, 2, 4, 8, 16, 32, 64), (224,)),
            Plan(_KINDS, ("infer",), (4,), (64, 96, 128, 192, 256, 320, 384)),
        ),
        ("native", "torch"),
    ),
}


@dataclass(frozen=True)
class Target:
    """How fast something is to be.

    Args:
        name: what it is about.
        subjects: the pattern of the subjects that count.
        mode: see `Task`.
        rivals: against whom; where there are several, the fastest at each task.
        limit: the bound of the geometric mean over the tasks.
        is_speedup: whether the mean is that of their time over ours, which must be at least the
            limit; or else of our time over theirs, which must be at most the limit.
        quantity: the time that counts, a field of `Row`.
    """

    name: str
    subjects: str
    mode: str
    rivals: tuple[str, ...]
    limit: float
    is_speedup: bool
    quantity: str = "seconds"


LAX, TORCH = ("lax",), ("torch", "torch-compile")

TARGETS: tuple[Target, ...] = (
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


@dataclass(frozen=True)
class Verdict:
    """How a target stands.

    Args:
        target: it.
        mean: the geometric mean over the tasks.
        worst: the task that is furthest from the limit.
        tasks: how many there are.
    """

    target: Target
    mean: float
    worst: float
    tasks: int

    @property
    def met(self) -> bool:
        """Whether the mean is within the limit."""
        limit = self.target.limit
        return self.mean >= limit if self.target.is_speedup else self.mean <= limit


def verdicts(rows: Sequence[Row], ours: str = OURS.name) -> Iterator[Verdict]:
    """Yield how each target stands, for one contestant of ours, that the rows have tasks for."""
    for target in TARGETS:
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
