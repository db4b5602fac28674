"""What is known about a network: a typed record for each."""

from dataclasses import dataclass

from flaxblocks.models.architecture import Architecture
from flaxblocks.preprocess.transform import Preprocess

TIMM_PREFIX = "timm/"
DEFAULT = "default"
USUAL = Preprocess(resize=256, crop=224)


@dataclass(frozen=True)
class PublishedWeights:
    """Trained weights that a network's source publishes.

    Args:
        tag: what the source calls them, ``"IMAGENET1K_V2"`` or ``"a1_in1k"``.
        source: where they are, as `load_weights` takes it: an address or ``"hf-hub:..."``.
        preprocess: how images are prepared for them.
        num_classes: outputs of their classifier; 0 where they have none.
        license: what the source says about their use; None where it says nothing.
        top1: published accuracy on ImageNet-1k's validation images, prepared like this, in percent.
        top5: how often the right class is among the first five, in percent.
        mean_iou: of a segmentation network on the COCO 2017 validation images with Pascal VOC's
            classes: intersection over union, the mean over the classes, in percent.
        pixel_accuracy: how many of their pixels it classifies right, in percent.
    """

    tag: str
    source: str
    preprocess: Preprocess
    num_classes: int = 1000
    license: str | None = None
    top1: float | None = None
    top5: float | None = None
    mean_iou: float | None = None
    pixel_accuracy: float | None = None


@dataclass(frozen=True, repr=False)
class ModelRecord:
    """A network by name, with what is known about it; `print` shows it.

    Args:
        name: what `create_model` calls it.
        architecture: its stem, stages and head.
        source: whose network it is and whose parameter names its weights have: ``"torchvision"``,
            ``"timm"``, or ``"native"`` for a network of one's own.
        paper: where it was published.
        parameters: how many it has with 1000 classes; None where nobody counted.
        multiply_adds: how many an image of `input_size` takes.
        preprocess: how images are prepared for it, by default as for its first weights.
        weights: its published weights, the default ones first.
    """

    name: str
    architecture: Architecture
    source: str = "native"
    paper: str = ""
    parameters: int | None = None
    multiply_adds: int | None = None
    preprocess: Preprocess = USUAL
    weights: tuple[PublishedWeights, ...] = ()

    @property
    def name_at_source(self) -> str:
        """What torchvision or timm calls the network."""
        return self.name.removeprefix(TIMM_PREFIX)

    @property
    def task(self) -> str:
        """What it does: ``"classification"`` of images, or ``"segmentation"``, of every pixel."""
        return self.architecture.task

    @property
    def input_size(self) -> int:
        """Height and width in pixels of the images that it takes by default."""
        return self.preprocess.crop

    def published(self, tag: str = DEFAULT) -> PublishedWeights:
        """Return published weights.

        Args:
            tag: what they are called, or ``"default"`` for the first.

        Raises:
            ValueError: if there are none of that name.
        """
        found = [w for w in self.weights if tag in (w.tag, DEFAULT)]
        if not found:
            known = " or ".join(w.tag for w in self.weights) or "a file: none are published"
            raise ValueError(f"`weights` of {self.name} must be {known}, got {tag!r}")
        return found[0]

    def __repr__(self) -> str:
        """Return the record as a page to read."""
        lines = [f"{self.name}  ({', '.join(filter(None, (self.source, self.paper)))})"]
        if self.parameters is not None:
            lines.append(f"  {self.parameters:,} parameters")
        if self.multiply_adds is not None:
            size = f"{self.input_size} x {self.input_size}"
            lines.append(f"  {self.multiply_adds:,} multiply-adds at {size} pixels")
        width = max((len(w.tag) for w in self.weights), default=0)
        for w in self.weights:
            top1 = "" if w.top1 is None else f"  top-1 {w.top1:.2f} %"
            iou = "" if w.mean_iou is None else f"  mean IoU {w.mean_iou:.2f} %"
            classes = f"{w.num_classes:>5} classes" if w.num_classes else "no classifier"
            lines.append(
                f"  {w.tag:<{width}}  {w.preprocess.crop:>3} pixels  {classes:>13}{top1}{iou}"
                f"  {w.license or ''}".rstrip()
            )
        return "\n".join(lines)
