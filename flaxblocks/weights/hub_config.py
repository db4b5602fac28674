"""Whether a checkpoint on the Hub is for this very network, by its `config.json`."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from flax import nnx

from flaxblocks.models import Backbone
from flaxblocks.weights.arrays import shown
from flaxblocks.weights.twins import networks_of


def check_config(
    module: nnx.Module, config: Mapping[str, Any], *, new_head: bool, adapt_stem: bool
) -> None:
    """Compare a network with the description of a checkpoint, as timm writes it.

    Names and shapes alone do not tell networks apart that differ in padding or in a constant.

    Args:
        module: the network.
        config: the description.
        new_head: whether the number of classes may differ.
        adapt_stem: whether the number of input channels may differ.

    Raises:
        ValueError: if they do not agree; the message lists every difference.
    """
    if not isinstance(module, Backbone):
        raise ValueError(
            "`module` must be a network such as create_model makes to be checked against a "
            f"config.json, got {type(module).__name__}"
        )
    differences = list(_differences(module, config, new_head, adapt_stem))
    if differences:
        raise ValueError(
            "`module` is not the network of the checkpoint's config.json, nothing was loaded:\n  "
            + "\n  ".join(differences)
        )


def _differences(
    network: Backbone, config: Mapping[str, Any], new_head: bool, adapt_stem: bool
) -> Iterator[str]:
    architecture = config.get("architecture")
    if network.name not in (networks_of(config) or [architecture]):
        theirs = shown(repr(architecture))
        yield f"architecture: the checkpoint is of {theirs}, `module` is {network.name!r}"
    details = config.get("pretrained_cfg", config)
    arguments = config.get("model_args", {})
    classes = config.get("num_classes", details.get("num_classes"))
    if classes is not None and classes != network.num_classes and not new_head:
        told = shown(repr(classes))
        yield f"num_classes: {told} given, {network.num_classes} needed; see `new_head`"
    size: Any = details.get("input_size")
    told = cast("list[Any]", size)[0] if isinstance(size, list) and size else None
    channels = arguments.get("in_chans") or told
    own_channels = network.in_features
    if channels is not None and channels != own_channels and not adapt_stem:
        yield f"in_features: {shown(repr(channels))} given, {own_channels} needed; see `adapt_stem`"
