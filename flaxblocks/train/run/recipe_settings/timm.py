"""timm's recipes for ResNet-50: Wightman et al. 2021, ResNet strikes back, table 2."""

A2 = {
    "epochs": 300,
    "batch_size": 2048,
    "opt": "lamb",
    "lr_base": 6.25e-4,  # 5e-3 for a batch of 2,048
    "weight_decay": 0.02,
    "warmup_epochs": 5.0,
    "warmup_start": 0.02,  # timm's default, 1e-4
    "warmup_prefix": False,
    "min_lr": 2e-4,  # timm's default, 1e-6
    "sched_on_updates": False,
    "bce": True,
    "bce_target_thresh": 0.2,
    "mixup": 0.1,
    "cutmix": 1.0,
    "aa": "rand-m7-mstd0.5-inc1",
    "aug_repeats": 3,
    "drop_path": 0.05,
    "train_interpolation": "random",
}
"""Both images of a mixed one are wholly there for the loss, which asks for each class by itself."""

A1 = {
    **{name: value for name, value in A2.items() if name != "bce_target_thresh"},
    "epochs": 600,
    "weight_decay": 0.01,
    "smoothing": 0.1,
    "mixup": 0.2,
}
"""The longest one; its targets are smoothed."""

A3 = {
    **{name: value for name, value in A2.items() if name not in ("aug_repeats", "drop_path")},
    "epochs": 100,
    "lr_base": 1e-3,  # 8e-3 for a batch of 2,048
    "warmup_start": 0.0125,
    "min_lr": 1.25e-4,
    "aa": "rand-m6-mstd0.5-inc1",
    "train_crop_size": 160,
}
"""The shortest one."""

RECIPES = {"resnet-a1": A1, "resnet-a2": A2, "resnet-a3": A3}
