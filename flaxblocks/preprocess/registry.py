"""The preprocessing of each network, by its name."""

from flaxblocks.models.registry import records
from flaxblocks.preprocess.timm import timm_preprocess
from flaxblocks.preprocess.torchvision import torchvision_preprocess
from flaxblocks.preprocess.transform import Preprocess
from flaxblocks.weights.published import PUBLISHED

TIMM = "timm/"


def create_preprocess(name: str, weights: str | None = None) -> Preprocess:
    """Return what is done to an image before a network sees it.

    It belongs to the weights rather than to the network: torchvision trained some networks twice.

    >>> fb.create_preprocess("resnet50").resize
    232
    >>> fb.create_preprocess("resnet50", "IMAGENET1K_V1").resize
    256

    Args:
        name: one of `list_models`.
        weights: torchvision's name of the weights. Absent, those that torchvision calls its
            default, the newest; or, for a ``timm/`` network, those that timm loads by default.
            Other weights of timm's say it themselves, see `Preprocess.from_timm`.

    Raises:
        ValueError: if the network or its weights are unknown.
    """
    if name not in records():
        raise ValueError(f"`name` must be one of list_models(), got {name!r}")
    if name.startswith(TIMM):
        if weights is not None:
            raise ValueError(
                f"`weights` are torchvision's, which {name} has not, got {weights!r}; "
                "Preprocess.from_timm takes the config of timm's"
            )
        return timm_preprocess(name.removeprefix(TIMM))
    known = PUBLISHED[name]
    if weights is None:
        weights = "IMAGENET1K_V2" if "IMAGENET1K_V2" in known else next(iter(known))
    if weights not in known:
        raise ValueError(f"`weights` of {name} must be {' or '.join(known)}, got {weights!r}")
    return torchvision_preprocess(name, weights)
