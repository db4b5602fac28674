"""Recipes of our own: to learn the tool with, and to fine-tune."""

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

RECIPES = {"finetune": FINETUNE, "quick": QUICK}
