"""torchvision's recipes: the commands in its classification reference."""

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

V2 = {
    "epochs": 600,
    "batch_size": 1024,
    "opt": "momentum",
    "lr_base": 0.125,  # 0.5 for a batch of 1,024
    "weight_decay": 2e-5,
    "decay_on": "all-but-norms",
    "warmup_epochs": 5.0,
    "warmup_start": 0.01,
    "sched_on_updates": False,
    "smoothing": 0.1,
    "mixup": 0.2,
    "cutmix": 1.0,
    "model_ema": 0.99998,
    "model_ema_every": 32,
    "aa": "ta_wide",
    "reprob": 0.1,
    "remode": "const",
    "aug_repeats": 4,
    "train_crop_size": 176,
}
"""The second weights, IMAGENET1K_V2, of ResNet-50 and others."""

MOBILENET_V3 = {
    "epochs": 600,
    "batch_size": 1024,
    "opt": "rmsprop",
    "opt_eps": 0.0316,
    "lr_base": 0.016,  # 0.064 for a batch of 1,024
    "weight_decay": 1e-5,
    "decay_on": "all",
    "sched": "step",
    "decay_epochs": 2.0,
    "decay_rate": 0.973,
    "aa": "original",
    "reprob": 0.2,
    "remode": "const",
}
"""MobileNetV3's weights."""

REGNET = {
    "epochs": 100,
    "batch_size": 1024,
    "opt": "momentum",
    "lr_base": 0.2,  # 0.8 for a batch of 1,024
    "weight_decay": 5e-5,
    "decay_on": "all",
    "warmup_epochs": 5.0,
    "warmup_start": 0.1,
    "sched_on_updates": False,
}
"""RegNets' first weights."""

RECIPES = {
    "resnet50-torchvision": RESNET50,
    "torchvision-v2": V2,
    "mobilenet-v3": MOBILENET_V3,
    "regnet": REGNET,
}
