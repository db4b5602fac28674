"""Recipes as papers and their released code have them."""

_TAN_LE = {
    "epochs": 350,
    "batch_size": 256,
    "opt": "rmsproptf",
    "opt_eps": 1e-3,
    "lr_base": 0.016,
    "weight_decay": 1e-5,
    "sched": "step",
    "decay_epochs": 2.4,
    "decay_rate": 0.97,
    "warmup_epochs": 5.0,
    "smoothing": 0.1,
    "model_ema": 0.9999,
}

EFFICIENTNET = _TAN_LE | {"decay_on": "all-but-norms", "aa": "original"}
"""Tan and Le 2019, section 5, and the released code."""

EFFICIENTNET_V2 = _TAN_LE | {
    "aa": "rand-m10-n2-p1",
    "train_crop_size": 300,
    "grow_stages": 4,
    "grow_from": 128,
    "grow_magnitude": 5.0,
}
"""Tan and Le 2021, section 4, and the released code, of EfficientNetV2-S.

The images grow from 171 to 300 pixels in four stages, and RandAugment's magnitude from 5 to 10.
"""

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
    "aa": "rand-m9-mstd0.5-inc1",
    "train_interpolation": "bicubic",
    "reprob": 0.25,
}
"""Liu et al. 2022, appendix A.1, and the released code."""

RECIPES = {
    "efficientnet-rmsprop": EFFICIENTNET,
    "efficientnet-v2": EFFICIENTNET_V2,
    "convnext-adamw": CONVNEXT,
}
