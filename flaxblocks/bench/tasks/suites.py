"""Suites of tasks."""

from dataclasses import dataclass

from flaxblocks.bench.tasks.task import Task


@dataclass(frozen=True)
class Plan:
    """Tasks: every combination of what is given."""

    subjects: tuple[str, ...]  # names or patterns
    modes: tuple[str, ...] = ("infer", "train")  # see `Task`
    batches: tuple[int, ...] = (1, 8)  # images
    # height and width in pixels; each subject's own where there are none
    sizes: tuple[int, ...] = ()

    def tasks(self, dtype: str, device: str, threads: int, keep: bool = False) -> list[Task]:
        """Return the tasks; for the arguments see `Task`.

        Raises:
            ValueError: if a name is unknown.
        """
        from flaxblocks.bench.tasks.subjects import matching  # imports JAX

        return [
            Task(one.name, mode, batch, size, dtype, device, threads, keep)
            for one in matching(self.subjects)
            for mode in self.modes
            for batch in self.batches
            for size in self.sizes or (one.size,)
        ]


@dataclass(frozen=True)
class Suite:
    """Plans that are run together, and the contestants."""

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
