"""timm's names for what its byobnet.py makes of parallel convolutions."""

from collections.abc import Iterator

from flaxblocks.blocks import RepConv
from flaxblocks.models import Backbone
from flaxblocks.weights.naming import Child, Naming, Vendor


def _repvgg_block(block: RepConv) -> Iterator[Child]:
    """Name a `RepVggBlock`, or a `MobileOneBlock` where there are several wide kernels."""
    if len(block.convs) > 1:
        yield from _mobileone_block(block)
        return
    yield from _branches(block, "conv_kxk", "conv_1x1")


def _mobileone_block(block: RepConv) -> Iterator[Child]:
    yield from _branches(block, "conv_kxk.0", "conv_scale")


def _branches(block: RepConv, first: str, point: str) -> Iterator[Child]:
    """Name the branches; one that `for_inference` made has the name that timm's has."""
    if block.convs[0].norm is None:
        yield Child("attn", block.se)
        yield Child("reparam_conv", block.convs[0].conv)
        return
    yield Child("identity", block.skip)
    yield Child(first, block.convs[0])
    yield from (Child(f"conv_kxk.{i}", conv) for i, conv in enumerate(block.convs) if i)
    yield Child(point, block.point)
    yield Child("attn", block.se)


def _network(naming: Naming) -> Naming:
    """Return the naming of a network of such blocks."""

    def parts(model: Backbone) -> Iterator[Child]:
        yield Child("stem", model.stem.layers[0], naming)
        for number, stage in enumerate(model.stages):
            for place, block in enumerate(stage.blocks):
                yield Child(f"stages.{number}.{place}", block, naming)
        yield Child("head.fc", model.head.classifier)

    return parts


REP: Vendor = {
    RepConv: _repvgg_block,
    "repvgg": _network(_repvgg_block),
    "mobileone": _network(_mobileone_block),
}
