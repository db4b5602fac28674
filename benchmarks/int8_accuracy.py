"""Accuracy of int8 beside float32: a network trained on digits, and one on photographs.

    python benchmarks/int8_accuracy.py --json benchmarks/int8-cpu-DATE.json

It needs onnxruntime, scikit-learn, and LiteRT with its converter: `pip install
'flaxblocks[export,litert]'`.
Digits are scikit-learn's; the photographs are crops of three pictures that come with scikit-learn
and Matplotlib, and their class is the picture and its half. Both are split before training.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

import flaxblocks as fb
from flaxblocks._base.command_line import versions
from parity.photo import load_photo

SIZE, BATCH, STEPS, CALIBRATION = 32, 64, 200, 128
NETWORKS = ("timm/test_resnet", "timm/test_efficientnet")
PACKAGES = ("jax", "onnx", "onnxruntime", "ai-edge-litert", "litert-converter")
RUNTIMES = {"onnx_runtime": "onnx", "litert": "tflite"}
"""What runs int8, and how its files end."""


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return digits as ``(n, 32, 32, 3)`` and what they are."""
    data: Any = load_digits()
    images = np.kron(data.images / np.float32(8) - 1, np.ones((1, 4, 4))).astype(np.float32)
    return np.repeat(images[..., None], 3, -1), data.target.astype(np.int32)


def photographs(count: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Return crops of photographs as ``(n, 32, 32, 3)``, and which half of which they show."""
    pictures = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")] + [load_photo()]
    rng, images, labels = np.random.default_rng(0), [], []
    for number in range(count):
        picture, half = pictures[number % 3], number // 3 % 2
        height, width = picture.shape[0], picture.shape[1] // 2
        side = int(rng.integers(width // 3, width))
        top, left = (int(rng.integers(0, size - side)) for size in (height, width))
        left += half * width
        crop = Image.fromarray(picture[top : top + side, left : left + side])
        images.append(np.asarray(crop.resize((SIZE, SIZE))) / np.float32(128) - 1)
        labels.append(2 * (number % 3) + half)
    return np.stack(images).astype(np.float32), np.asarray(labels, np.int32)


def trained(name: str, images: np.ndarray, labels: np.ndarray) -> nnx.Module:
    """Return a network after a few epochs."""
    model = fb.create_model(name, num_classes=int(labels.max()) + 1, rngs=nnx.Rngs(0))
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, STEPS))
    step, rng = fb.train.make_train_step(optimizer), np.random.default_rng(0)
    state = fb.train.create_state(model, optimizer)
    for _ in range(STEPS):
        chosen = rng.choice(len(images), BATCH)
        state, _ = step(state, {"image": images[chosen], "label": labels[chosen]})
    model = state.model()
    model.eval()
    return model


def measured(name: str, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Train on two thirds, and return how many of the others are told right."""
    order = np.random.default_rng(1).permutation(len(images))
    seen, others = np.split(order, [len(images) * 2 // 3])
    model = trained(name, images[seen], labels[seen])
    x, truth = images[others], labels[others]
    quantized = fb.quantize(model, images[seen[:CALIBRATION]])
    graphdef, state = nnx.split(model)
    answers = {
        "float32": jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))(state, x),
        "int8_in_jax": quantized(x),
    }
    with tempfile.TemporaryDirectory() as folder:
        for runtime, suffix in RUNTIMES.items():
            path = fb.export(quantized, Path(folder) / f"model.{suffix}", input_size=SIZE)
            answers[f"int8_in_{runtime}"] = fb.load_exported(path)(x)
    classes = {name: np.asarray(logits).argmax(1) for name, logits in answers.items()}
    right = {name: round(float(np.mean(c == truth)), 4) for name, c in classes.items()}
    same = {
        f"{runtime}_has_the_class_of_{beside}": int(
            np.sum(classes[f"int8_in_{runtime}"] == classes[beside])
        )
        for runtime in RUNTIMES
        for beside in ("int8_in_jax", "float32")
    }
    return {"images": len(x), **right, **same}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the results are written")
    options = parser.parse_args()
    found = {
        data.__name__: {name: measured(name, *data()) for name in NETWORKS}
        for data in (digits, photographs)
    }
    content = {"versions": versions(PACKAGES), "accuracy": found}
    text = json.dumps(content, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
