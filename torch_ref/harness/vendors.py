# pyright: basic
"""torchvision's and timm's own modules, against which the networks are checked."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

AS_TRAINED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"fbnetc_100": MappingProxyType({"bn_eps": 1e-3})}
)
"""What timm changes in a network where it loads the trained weights into it."""


@cache
def declare_operators() -> torch.library.Library | None:
    """Make torchvision and timm importable beside a PyTorch without torchvision's operators.

    Their import asks for the schemas of two operators, which a CPU-only PyTorch does not load from
    a torchvision that was built for a GPU. Where they do load, nothing is declared.
    """
    if _loads_operators():
        return None
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _loads_operators() -> bool:
    found = find_spec("torchvision")
    folders = [] if found is None else found.submodule_search_locations or []
    files = [file for folder in folders for file in Path(folder).glob("_C*.so")]
    try:
        for file in files:
            torch.ops.load_library(file)
    except OSError:
        return False
    return bool(files)


def make_network(vendor: str, name: str) -> nn.Module:
    """Return the vendor's own module without its arrays.

    Args:
        vendor: ``"torchvision"`` or ``"timm"``.
        name: the vendor's name of the network.

    Raises:
        ImportError: if the vendor's package is not installed.
    """
    declare_operators()
    if vendor == "timm":
        import timm

        with torch.device("meta"):
            return timm.create_model(name, **AS_TRAINED.get(name, {}))
    import torchvision

    has_auxiliary = name in ("googlenet", "inception_v3")
    options: dict[str, Any] = {"init_weights": False} if has_auxiliary else {}
    if name in dir(torchvision.models.segmentation):
        options = {"weights_backbone": None}
        if not name.startswith("lraspp"):  # which has none
            options["aux_loss"] = True
    with _regnet_widths_on_cpu(), torch.device("meta"):
        network = torchvision.models.get_model(name, **options)
    if has_auxiliary:  # in training it returns the other classifiers' logits too
        vars(network)["eager_outputs"] = lambda logits, *_: logits
    return network


def allocate(network: nn.Module) -> nn.Module:
    """Give a network from `make_network` arrays, in place, and return it.

    What a state dict holds is not set yet; what it does not hold, such as a blur's filter, is.
    """
    network.to_empty(device="cpu")
    for module in network.modules():
        if module._non_persistent_buffers_set:
            module.reset_parameters()  # pyright: ignore[reportCallIssue]
    return network


@contextmanager
def _regnet_widths_on_cpu() -> Generator[None, None, None]:
    """Let RegNet be made without arrays: it computes its widths with tensors of values."""
    from torchvision.models.regnet import BlockParams

    compute = BlockParams.from_init_params

    def on_cpu(**arguments: object) -> BlockParams:
        with torch.device("cpu"):
            return compute(**arguments)  # pyright: ignore[reportArgumentType]

    with patch.object(BlockParams, "from_init_params", on_cpu):
        yield
