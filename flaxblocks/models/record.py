"""What is known about a network: one typed record each."""

from dataclasses import dataclass

from flaxblocks.models.architecture import Architecture

TIMM_PREFIX = "timm/"


@dataclass(frozen=True)
class ModelRecord:
    """A network by name.

    Args:
        name: what `create_model` calls it.
        architecture: its description.
        source: whose network it is, and whose parameter names its weights have: ``"torchvision"``,
            ``"timm"``, or ``"native"`` for a network of one's own.
        paper: where it was published.
    """

    name: str
    architecture: Architecture
    source: str = "native"
    paper: str = ""

    @property
    def name_at_source(self) -> str:
        """What torchvision or timm calls the network."""
        return self.name.removeprefix(TIMM_PREFIX)
