"""Which of timm's networks and ours are the same function."""

from collections.abc import Mapping
from typing import Any

from flaxblocks.models.record import TIMM_PREFIX
from flaxblocks.models.registry import records

EPSILON = "bn_eps"

TORCHVISIONS_EPSILON = {EPSILON: 1e-3}

TWINS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "efficientnet_b5": ("efficientnet_b5", TORCHVISIONS_EPSILON),
    "efficientnet_b6": ("efficientnet_b6", TORCHVISIONS_EPSILON),
    "efficientnet_b7": ("efficientnet_b7", TORCHVISIONS_EPSILON),
    "efficientnet_v2_s": ("efficientnetv2_s", TORCHVISIONS_EPSILON),
    "efficientnet_v2_m": ("efficientnetv2_m", TORCHVISIONS_EPSILON),
    "efficientnet_v2_l": ("efficientnetv2_l", TORCHVISIONS_EPSILON),
    "mnasnet0_5": ("mnasnet_050", {}),
    "mnasnet0_75": ("mnasnet_075", {}),
    "mnasnet1_0": ("mnasnet_100", {}),
    "mobilenet_v2": ("mobilenetv2_100", {}),
    "mobilenet_v3_large": ("mobilenetv3_large_100", TORCHVISIONS_EPSILON),
    "mobilenet_v3_small": ("mobilenetv3_small_100", TORCHVISIONS_EPSILON),
    "regnet_x_400mf": ("regnetx_004_tv", {}),
    "regnet_x_800mf": ("regnetx_008", {}),
    "regnet_x_1_6gf": ("regnetx_016", {}),
    "regnet_x_3_2gf": ("regnetx_032", {}),
    "regnet_x_8gf": ("regnetx_080", {}),
    "regnet_x_16gf": ("regnetx_160", {}),
    "regnet_x_32gf": ("regnetx_320", {}),
    "regnet_y_400mf": ("regnety_004", {}),
    "regnet_y_800mf": ("regnety_008_tv", {}),
    "regnet_y_1_6gf": ("regnety_016", {}),
    "regnet_y_3_2gf": ("regnety_032", {}),
    "regnet_y_8gf": ("regnety_080_tv", {}),
    "regnet_y_16gf": ("regnety_160", {}),
    "regnet_y_32gf": ("regnety_320", {}),
    "regnet_y_128gf": ("regnety_1280", {}),
    "timm/fbnetc_100": ("fbnetc_100", {EPSILON: 1e-3}),
}
"""timm's network that is the same function, and how it is made, where name or constants differ."""

ONLY_TORCHVISIONS = (
    "alexnet",
    "deeplabv3",
    "fcn",
    "googlenet",
    "inception_v3",
    "lraspp",
    "mnasnet1_3",
    "shufflenet",
    "squeezenet",
    "vgg",
)
"""How the names begin of networks that timm has not, or with other layers."""


def timm_twin(name: str) -> tuple[str, Mapping[str, float]]:
    """Return what timm calls a network, and what its `create_model` is told for the same function.

    >>> timm_twin("mobilenet_v3_small")
    ('mobilenetv3_small_100', {'bn_eps': 0.001})

    Raises:
        ValueError: if timm has no such network.
    """
    if name.startswith(ONLY_TORCHVISIONS):
        raise ValueError(f"`model` must be a network that timm has, got {name}")
    return TWINS.get(name, (name.removeprefix(TIMM_PREFIX), {}))


def networks_of(config: Mapping[str, Any]) -> list[str]:
    """Return our networks that are the function that timm makes of a `config.json`.

    >>> networks_of({"architecture": "mobilenetv2_100"})
    ['timm/mobilenetv2_100', 'mobilenet_v2']

    Args:
        config: it names timm's ``architecture``, and in ``model_args`` what else makes it.
    """
    architecture = str(config.get("architecture"))
    epsilon = config.get("model_args", {}).get(EPSILON)
    own = f"{TIMM_PREFIX}{architecture}"
    found = [
        name
        for name in records()
        if not name.startswith(ONLY_TORCHVISIONS)
        and (timm_twin(name)[0], timm_twin(name)[1].get(EPSILON)) == (architecture, epsilon)
    ]
    if epsilon is None and own in records() and own not in found:  # as timm loads trained weights
        found.append(own)
    return sorted(found, key=lambda name: (name != own, name))
