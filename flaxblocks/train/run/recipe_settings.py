"""How published networks were trained, as settings by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

RESNET50 = {
    "epochs": 90,
    "batch_size": 256,
    "opt": "momentum",
    "lr_base": 0.1,
    "weight_decay": 1e-4,
    "decay_on": "all",
    "sched": "step",
    "decay_epochs": 30.0,
    "decay_rate": 0.1,
}
"""torchvision's classification reference, which made ResNet-50's first weights."""

EFFICIENTNET = {
    "epochs": 350,
    "batch_size": 256,
    "opt": "rmsproptf",
    "opt_eps": 1e-3,
    "lr_base": 0.016,
    "weight_decay": 1e-5,
    "decay_on": "all-but-norms",
    "sched": "step",
    "decay_epochs": 2.4,
    "decay_rate": 0.97,
    "warmup_epochs": 5.0,
    "smoothing": 0.1,
    "model_ema": 0.9999,
    "aa": "original",
}
"""Tan and Le 2019, section 5, and the released code."""

CONVNEXT = {
    "epochs": 300,
    "batch_size": 256,
    "opt": "adamw",
    "lr_base": 2.5e-4,  # 4e-3 for a batch of 4,096
    "weight_decay": 0.05,
    "warmup_epochs": 20.0,
    "smoothing": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "model_ema": 0.9999,
    "aa": "rand-m9-n2",
    "reprob": 0.25,
}
"""Liu et al. 2022, appendix A.1."""

QUICK = {
    "epochs": 15,
    "batch_size": 256,
    "opt": "adamw",
    "lr_base": 2e-2,
    "weight_decay": 0.05,
    "warmup_epochs": 1.0,
    "crop": "center",
    "hflip": 0.0,
}
"""For a small network on small images: a first run, and the tests."""

FINETUNE = {
    "epochs": 20,
    "batch_size": 64,
    "opt": "adamw",
    "lr_base": 4e-3,  # 1e-3 for a batch of 64
    "weight_decay": 0.05,
    "warmup_epochs": 1.0,
    "layer_decay": 0.8,
    "clip_grad": 1.0,
    "smoothing": 0.1,
    "scale": (0.35, 1.0),
    "color_jitter": 0.2,
}
"""For trained weights and a few hundred to a hundred thousand images.

The learning rate falls from layer to layer (Clark et al. 2020), so that few images do not spoil
the first ones; crops keep more of an object than training from nothing does.
"""

RECIPE_SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "finetune": FINETUNE,
        "quick": QUICK,
        "resnet50-torchvision": RESNET50,
        "efficientnet-rmsprop": EFFICIENTNET,
        "convnext-adamw": CONVNEXT,
    }
)
"""The recipes by name: what each changes about the defaults of `Settings`."""
