"""A small network of MBConv blocks in both libraries, and the handwritten digits it learns."""

from collections.abc import Iterator
from functools import cache, partial

import jax
import numpy as np
import torch
from flax import nnx

import flaxblocks as fb
import torch_ref
from flaxblocks.train import RECIPES, create_state, make_eval_step, make_train_step, means
from torch_ref.harness.layout import from_nhwc

BATCH, RECIPE = 64, RECIPES["quick"]
WIDTHS = ((16, 16, 1), (16, 32, 2), (32, 32, 1))  # in, out, stride
Split = dict[str, np.ndarray]


@cache
def digits() -> tuple[Split, Split]:
    """Return 1,347 images to train on and 450 to judge by, 8x8, values from 0 to 1."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 8, 8, 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    held_out, kept = order[:450], order[450:]
    training, judging = (
        {"image": images[rows], "label": labels[rows].astype(np.int32)} for rows in (kept, held_out)
    )
    return training, judging


def batches(data: Split, seed: int) -> Iterator[Split]:
    """Yield the epochs' batches in a random order; each epoch leaves out its remainder."""
    rng = np.random.default_rng(seed)
    for _ in range(RECIPE.epochs):
        order = rng.permutation(len(data["label"]))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            yield {name: rows[order[start : start + BATCH]] for name, rows in data.items()}


def total_steps() -> int:
    return len(digits()[0]["label"]) // BATCH * RECIPE.epochs


class FlaxDigits(nnx.Module):
    def __init__(self, *, momentum: float = 0.9, rngs: nnx.Rngs):
        norm = partial(fb.BatchNorm, momentum=momentum)
        self.stem = fb.ConvNormAct(1, 16, norm=norm, rngs=rngs)
        self.blocks = nnx.List(
            fb.MBConv(before, after, 3, stride=stride, norm=norm, rngs=rngs)
            for before, after, stride in WIDTHS
        )
        self.classifier = fb.Linear(32, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(x.mean((1, 2)))


class TorchDigits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = torch_ref.ConvNormAct(1, 16)
        self.blocks = torch.nn.ModuleList(
            torch_ref.MBConv(before, after, 3, stride=stride) for before, after, stride in WIDTHS
        )
        self.classifier = torch.nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(x.mean((2, 3)))


def flax_accuracy(seed: int, *, momentum: float = 0.9) -> float:
    """Train our network; return its accuracy on the images held out."""
    data, held_out = digits()
    optimizer = RECIPE.optimizer(total_steps(), BATCH)
    model = nnx.jit(lambda: FlaxDigits(momentum=momentum, rngs=nnx.Rngs(seed)))()
    state = create_state(model, optimizer)
    step = make_train_step(optimizer)
    for batch in batches(data, seed):
        state, _ = step(state, batch)
    return means(make_eval_step()(state, held_out))["accuracy"]


def torch_accuracy(seed: int) -> float:
    """Train PyTorch's network by the same recipe; return its accuracy."""
    torch.manual_seed(seed)
    data, held_out = digits()
    network = TorchDigits()
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1]},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=RECIPE.weight_decay)
    rates = RECIPE.learning_rates(total_steps(), BATCH)
    with torch.enable_grad():
        for number, batch in enumerate(batches(data, seed)):
            for group in optimizer.param_groups:
                group["lr"] = np.asarray(rates(number)).item()
            optimizer.zero_grad()
            logits = network(from_nhwc(batch["image"]))
            label = torch.from_numpy(batch["label"]).long()
            torch.nn.functional.cross_entropy(logits, label).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        best = network(from_nhwc(held_out["image"])).argmax(1).numpy()
    return float((best == held_out["label"]).mean())
