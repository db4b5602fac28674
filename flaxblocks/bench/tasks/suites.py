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
            ValueError: if a name is unknown, or a mode is none of a subject's.
        """
        from flaxblocks.bench.tasks.subjects import matching  # imports JAX

        subjects = matching(self.subjects)
        for one in subjects:
            for mode in self.modes:
                if mode not in one.modes:
                    raise ValueError(
                        f"`--mode` must be {' or '.join(one.modes)} for {one.name}, got {mode}"
                    )
        return [
            Task(one.name, mode, batch, size, dtype, device, threads, keep)
            for one in subjects
            for mode in self.modes
            for batch in self.batches
            for size in self.sizes or (one.size,)
        ]


@dataclass(frozen=True)
class Suite:
    """Plans that are run together, and the contestants."""

    plans: tuple[Plan, ...]
    against: tuple[str, ...]
    dtype: str = "float32"


_KINDS = ("efficientnet_b0", "resnet50", "resnext50_32x4d")  # depthwise, dense, grouped

_TRAINED = (
    "resnet50",
    "efficientnet_b0",
    "convnext_tiny",
    "regnet_y_3_2gf",
    "resnext50_32x4d",
    "efficientnet_v2_s",
    "mobilenet_v3_large",
)
_ROLES = ("infer", "input", "kernel")

# What is served on CPUs, one image at a time or a few.
_SERVED = (
    "efficientnet_b0",
    "resnet50",
    "mobilenet_v3_large",
    "regnet_y_800mf",
    "convnext_tiny",
    "efficientnet_v2_s",
)

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
            Plan(("FusedMBConv/efficientnet_v2-28",)),
            Plan(_SERVED, ("infer",)),
            Plan(("efficientnet_b0", "resnet18", "mobilenet_v3_small"), ("train",), (8,)),
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
    "accelerator": Suite(
        (
            Plan(_TRAINED, ("step",), (256,), (224,)),
            Plan(_TRAINED, ("infer",), (1, 256), (224,)),
            Plan(("Conv/*",), _ROLES, (256,)),
        ),
        ("lax", "torch", "torch-compile"),
        "bfloat16",
    ),
    # The most telling part, the most telling first.
    "accelerator-short": Suite(
        (
            Plan(("resnet50", "efficientnet_b0"), ("step",), (256,)),
            Plan(("resnet50", "efficientnet_b0"), ("infer",), (256,)),
            Plan(
                (
                    "Conv/stem7x7-224",
                    "Conv/regnet3x3-28",
                    "Conv/grouped3x3-56",
                    "Conv/strided3x3-112",
                    "Conv/depthwise5x5-28",
                    "Conv/depthwise7x7-28",
                    "Conv/dense3x3-14",
                ),
                _ROLES,
                (256,),
            ),
            Plan(("convnext_tiny", "regnet_y_3_2gf", "mobilenet_v3_large"), ("step",), (256,)),
        ),
        ("torch", "torch-compile"),
        "bfloat16",
    ),
}
