# pyright: reportUnknownMemberType=false
"""Batches from a source of images, by grain: in an order fixed by a seed, and resumable."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from flaxblocks._base import checks
from flaxblocks._base.optional import required
from flaxblocks.preprocess.transform import Preprocess
from flaxblocks.train.data.augment import Augment
from flaxblocks.train.data.source import Readable, Source
from flaxblocks.train.data.unreadable import UnreadableImages

Batch = dict[str, np.ndarray]
Place = Callable[[Batch], Any]
"""Puts a batch on the devices, such as `shard_batch` with a mesh."""

AHEAD = 2  # batches on the devices before they are needed


def training_batches(
    source: Source,
    augment: Augment | Callable[[int], Augment],
    *,
    batch_size: int,
    unreadable: UnreadableImages,
    repeats: int = 1,
    seed: int = 0,
    workers: int | None = None,
    process: int | None = None,
    processes: int | None = None,
) -> Any:
    """Return endless batches of training images, in a new order in each epoch.

    The last, incomplete batch of an epoch is dropped. In place of an image that cannot be read
    stands the source's next one that can. The order and the augmentations depend on the seed only,
    not on the number of processes.

    Args:
        source: images and labels.
        augment: turns each image into bytes of one size; or a function that returns what does so
            in an epoch, of which it takes the number.
        batch_size: images in a batch, over all processes.
        unreadable: collects images that cannot be read.
        repeats: how often an image comes in a batch, augmented anew. An epoch has as many rows as
            there are images, and so leaves out some of them (Hoffer et al. 2020; timm's
            `RepeatAugSampler`).
        seed: seed of the order and the augmentations.
        workers: threads that read images; twice the processors, at most 32, where absent.
        process: index of this process; JAX's where absent.
        processes: number of processes that share the images; JAX's where absent.

    Returns:
        A grain dataset of this process's part of the batches: ``image`` of shape
        ``(n, h, w, channels)``, bytes, and ``label`` of shape ``(n,)``.

    Raises:
        ImportError: if grain is not installed.
        ValueError: if the batch size is not positive, does not fit the number of processes, or is
            larger than the source.
    """
    rows, process, processes = _share(batch_size, process, processes)
    if not 1 <= repeats <= batch_size:
        raise ValueError(f"`repeats` must be from 1 to the batch size, got {repeats}")
    if batch_size > len(source):
        raise ValueError(f"`batch_size` must be at most {len(source)} images, got {batch_size}")

    readable = Readable(source, unreadable)

    length = len(source)
    of_epoch = _always(augment) if isinstance(augment, Augment) else augment
    order = _grain().MapDataset.range(length).seed(seed).shuffle()
    apart = batch_size // repeats  # not side by side: Mixup mixes neighbors

    def numbered(place: int, index: int) -> tuple[int, int]:
        epoch, place = divmod(place, length)
        if repeats > 1:
            block, inside = divmod(place, repeats * apart)
            index = order[epoch * length + block * apart + inside % apart]
        return index, epoch

    def train_on(numbers: tuple[int, int], rng: np.random.Generator) -> Batch:
        index, epoch = numbers
        return readable.next_row(index, lambda image: of_epoch(epoch)(image, rng))

    images = order.map_with_index(numbered).random_map(train_on)
    images = images[: length // batch_size * batch_size]
    images = images[process::processes].repeat()
    return images.to_iter_dataset(_reading(rows, workers)).batch(rows, drop_remainder=True)


def evaluation_batches(
    source: Source,
    preprocess: Preprocess,
    *,
    batch_size: int,
    unreadable: UnreadableImages,
    workers: int | None = None,
    process: int | None = None,
    processes: int | None = None,
) -> Any:
    """Return batches of every image once, in order.

    The last batch is padded with rows of weight 0, and an image that cannot be read becomes such
    a row. Every process gets the same number of batches.

    Args:
        source: images and labels.
        preprocess: resizes, crops and normalizes each image.
        batch_size: images in a batch, over all processes.
        unreadable: collects images that cannot be read.
        workers: see `training_batches`.
        process: index of this process; JAX's where absent.
        processes: number of processes that share the images; JAX's where absent.

    Returns:
        A grain dataset of this process's part of the batches: ``image`` of shape
        ``(n, crop, crop, channels)``, normalized, ``label`` and ``weight`` of shape ``(n,)``.

    Raises:
        ImportError: if grain is not installed.
        ValueError: if the batch size is not positive or does not fit the number of processes.
    """
    rows, process, processes = _share(batch_size, process, processes)
    readable = Readable(source, unreadable)
    length = -(-len(source) // batch_size) * batch_size

    def evaluate_on(index: int) -> Batch:
        def prepared(image: Any) -> np.ndarray:
            return preprocess(image)[0]

        row = readable.row(index, prepared) if index < len(source) else None
        if row is None:
            image = np.zeros((preprocess.crop, preprocess.crop, preprocess.channels), np.float32)
            row = {"image": image, "label": np.asarray(0, np.int32)}
            return row | {"weight": np.asarray(0, np.float32)}
        return row | {"weight": np.asarray(1, np.float32)}

    images = _grain().MapDataset.range(length).map(evaluate_on)[process::processes]
    return images.to_iter_dataset(_reading(rows, workers)).batch(rows, drop_remainder=True)


class Feed:
    """Batches on the devices, prepared ahead of time in the background.

    Args:
        batches: a grain dataset of batches.
        place: puts a batch on the devices.

    Attributes:
        waited: seconds spent waiting for batches so far.

    Raises:
        ImportError: if grain is not installed.
    """

    def __init__(self, batches: Any, place: Place):
        self.waited = 0.0
        ahead = _grain().experimental.ThreadPrefetchIterDataset
        self._iterator = iter(ahead(batches.map(place), prefetch_buffer_size=AHEAD))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Return the next batch."""
        start = time.monotonic()
        batch = next(self._iterator)
        self.waited += time.monotonic() - start
        return batch

    def position(self) -> dict[str, Any]:
        """Return the position of the next batch, as JSON can hold it."""
        return self._iterator.get_state()

    def go_to(self, position: dict[str, Any]) -> None:
        """Continue from what `position` returned."""
        self._iterator.set_state(position)

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the background threads."""
        self._iterator.close()


def _always(augment: Augment) -> Callable[[int], Augment]:
    def of_epoch(epoch: int) -> Augment:
        return augment

    return of_epoch


def _grain() -> Any:
    return required("grain", "grain", "training data need")


def _share(batch_size: int, process: int | None, processes: int | None) -> tuple[int, int, int]:
    """Return the rows per process, the index of this process, and the number of processes."""
    process = jax.process_index() if process is None else process
    processes = jax.process_count() if processes is None else processes
    if checks.positive_int("batch_size", batch_size) % processes:
        raise ValueError(
            f"`batch_size` must be a multiple of {processes} processes, got {batch_size}"
        )
    return batch_size // processes, process, processes


def _reading(rows: int, workers: int | None) -> Any:
    """Return how many threads read images, and how many images they read ahead."""
    threads = workers or min(2 * (os.cpu_count() or 1), 32)
    return _grain().ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * rows, threads))
