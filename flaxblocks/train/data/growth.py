"""Progressive learning: small images that change little at first, larger and other ones later."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from flaxblocks._base import checks
from flaxblocks.train.data.augment import Augment, Operation
from flaxblocks.train.data.timm_randaugment import TimmRandAugment


@dataclass(frozen=True)
class Growth:
    """Stages of a run, as long as each other, of growing images and magnitudes.

    Args:
        stages: how many.
        size: of images before the first stage, in pixels; they grow by as much in each stage.
        magnitude: of RandAugment in the first stage; it grows to its own in the last one. None
            for its own throughout.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if one is out of range.

    Source: Tan and Le 2021, EfficientNetV2, section 4, and the released code.
    """

    stages: int
    size: int
    magnitude: float | None = None

    def __post_init__(self):
        if checks.positive_int("stages", self.stages) < 2:
            raise ValueError(f"`stages` must be at least 2, got {self.stages}")
        checks.positive_int("size", self.size)
        if self.magnitude is not None:
            checks.at_least_0("magnitude", self.magnitude)

    def at(self, part: float, augment: Augment) -> Augment:
        """Return the augmentation of a stage.

        Args:
            part: of the run that is over, from 0 to 1.
            augment: the last stage's.
        """
        stage = min(int(part * self.stages), self.stages - 1)
        size = int(self.size + (augment.size - self.size) * (stage + 1) / self.stages)
        return replace(
            augment,
            size=size,
            operations=tuple(self._weaker(augment.operations, stage / (self.stages - 1))),
        )

    def _weaker(self, operations: Sequence[Operation], part: float) -> Iterator[Operation]:
        for operation in operations:
            if isinstance(operation, TimmRandAugment) and self.magnitude is not None:
                magnitude = self.magnitude + (operation.magnitude - self.magnitude) * part
                yield replace(operation, magnitude=magnitude)
            else:
                yield operation
