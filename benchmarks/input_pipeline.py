"""Images per second of the input pipeline alone, beside PyTorch's DataLoader and grain's own.

    python benchmarks/input_pipeline.py --json benchmarks/input-cpu-DATE.json

A folder of JPEGs of 500 x 375 pixels becomes batches of 224 x 224: random crop, mirroring, color
jitter. Each has the same number of workers: threads here and in grain, processes in PyTorch, and
for grain processes too; its better one counts. They take turns, so that a busy machine is equally
busy for all, and the ratios of neighbors are what is recorded.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grain
import numpy as np
from absl import flags
from PIL import Image

from flaxblocks._base.command_line import versions
from flaxblocks.bench.report.environment import processor
from flaxblocks.preprocess import photo
from flaxblocks.train.data import (
    Augment,
    ColorJitter,
    Feed,
    ImageFolder,
    RandomCrop,
    UnreadableImages,
    flip,
    training_batches,
)

BATCH, SIZE, CLASSES = 64, 224, 8
AUGMENT = Augment(SIZE, RandomCrop(), (flip, ColorJitter()))


def make_images(folder: Path, count: int, width: int, height: int) -> None:
    """Write JPEGs as detailed as photographs: smooth shapes, edges, and some noise."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noisy = np.asarray(image, np.int16) + rng.integers(-12, 13, (height, width, 3))
        path = folder / f"class{number % CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=87)


def ours(folder: Path, workers: int) -> Iterator[Any]:
    """Yield our batches."""
    images = ImageFolder(folder)
    batches = training_batches(
        images,
        AUGMENT,
        batch_size=BATCH,
        unreadable=UnreadableImages(len(images)),
        workers=workers,
        process=0,  # JAX itself is not asked: PyTorch and grain fork this process
        processes=1,
    )
    with Feed(batches, lambda batch: batch) as feed:
        yield from feed


class Decode(grain.transforms.RandomMap):
    """Decodes a file and augments it, as grain's documentation composes it."""

    def random_map(self, element: tuple[str, int], rng: np.random.Generator) -> dict[str, Any]:
        """Return a row."""
        path, label = element
        image = AUGMENT.crop(photo.rgb(path), SIZE, rng)
        for operation in AUGMENT.operations:
            image = operation(image, rng)
        return {"image": np.asarray(image), "label": label}


def grains(folder: Path, workers: int, *, processes: bool) -> Iterator[Any]:
    """Yield grain's batches, by threads or by processes."""
    files = [(str(path), int(path.parent.name[5:])) for path in sorted(folder.rglob("*.jpg"))]
    data = grain.MapDataset.source(files).seed(0).shuffle().repeat().random_map(Decode())
    options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=2 * BATCH)
    batches = data.to_iter_dataset(options).batch(BATCH, drop_remainder=True)
    if processes:
        one = grain.ReadOptions(num_threads=1, prefetch_buffer_size=BATCH)
        batches = data.to_iter_dataset(one).batch(BATCH, drop_remainder=True)
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    yield from batches


def torchs(folder: Path, workers: int) -> Iterator[Any]:
    """Yield torchvision's batches, by PyTorch's DataLoader."""
    import torch
    from torch.utils.data import DataLoader

    from torch_ref.harness.vendors import declare_operators

    keep = declare_operators()
    import torchvision
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.4, 0.4, 0.4),
            v2.PILToTensor(),
        ]
    )
    images = torchvision.datasets.ImageFolder(str(folder), transform)
    sampler = torch.utils.data.RandomSampler(images, replacement=True, num_samples=1 << 30)
    loader = DataLoader(
        images, BATCH, sampler=sampler, num_workers=workers, drop_last=True, prefetch_factor=4
    )
    yield from loader
    del keep


def speed(batches: Iterator[Any], seconds: float) -> float:
    """Return the images of a second."""
    start, count = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        next(batches)
        count += BATCH
    return count / (time.perf_counter() - start)


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each, in each round")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    flags.FLAGS.mark_as_parsed()  # which grain's processes ask for
    makers: dict[str, Callable[[Path, int], Iterator[Any]]] = {
        "flaxblocks": ours,
        "torchvision": torchs,
        "grain, threads": partial(grains, processes=False),
        "grain, processes": partial(grains, processes=True),
    }
    found: dict[str, list[float]] = {name: [] for name in makers}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_images(folder, options.images, options.width, options.height)
        for number in range(options.rounds + 1):
            for name, make in makers.items():
                # One at a time: what another one prefetched meanwhile would not be its own work.
                batches = make(folder, options.workers)
                next(batches), next(batches)
                rate = speed(batches, options.seconds)
                if number:  # the first round warms up
                    found[name].append(rate)
                del batches
    result = {
        "about": {
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "processor": processor(),
            "processors": os.cpu_count(),
            "versions": versions(
                ("flaxblocks", "grain", "numpy", "pillow", "torch", "torchvision")
            ),
            "load": os.getloadavg()[0],
            **{name: value for name, value in vars(options).items() if name != "json"},
        },
        "images_per_second": {name: statistics.median(rates) for name, rates in found.items()},
        "times_ours": {
            name: statistics.median(
                mine / theirs for mine, theirs in zip(found["flaxblocks"], rates, strict=True)
            )
            for name, rates in found.items()
        },
        "rounds": found,
    }
    text = json.dumps(result, indent=1, default=str)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
