"""Training of a network that compiles in a moment, on images of noise; also as a program.

``python -m tests.helpers.tiny_training IMAGES OUT STEPS [ADDRESS COUNT PROCESS]`` trains, resumes
the run that is in OUT, and leaves every number of the final state in ``OUT/state.npz``; or, on a
signal, it saves and prints the step. The last arguments are for one of several processes. With
``JAX_ENABLE_X64`` the parameters are float64.

``python -m tests.helpers.tiny_training flaxblocks ...`` is the command line that knows ``tiny``.
"""

import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

import flaxblocks as fb
from flaxblocks.cli import main as command
from flaxblocks.models import Architecture, Initialization, StageRow
from flaxblocks.train.data import (
    ColorJitter,
    ImageFolder,
    RandAugment,
    RandomCrop,
    RandomErasing,
    flip,
)
from flaxblocks.train.optim.averages import RisingAverage
from flaxblocks.train.run.recipes import RECIPES
from flaxblocks.train.run.stop import Stop
from flaxblocks.train.run.training import Training
from flaxblocks.train.step.mixing import Mixing
from flaxblocks.train.step.state import TrainState

SIZE = 16
BATCH = 4
PREPROCESS = fb.Preprocess(SIZE, SIZE)
RECIPE = replace(
    RECIPES["quick"],
    epochs=2,
    average=RisingAverage(0.9),
    mixing=Mixing(mixup_alpha=0.8, cutmix_alpha=1.0),
    crop=RandomCrop(),
    augmentations=(flip, ColorJitter(), RandAugment(), RandomErasing()),
)


class Tiny(nnx.Module):
    """One convolution with its statistics, dropout and a head."""

    def __init__(self, classes: int = 3, *, dtype: Any = jnp.float32, rngs: nnx.Rngs):
        self.stem = fb.ConvNormAct(3, 8, stride=4, param_dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.head = fb.Linear(8, classes, param_dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.dropout(self.stem(x).mean((1, 2))))


def register_tiny() -> None:
    """Let ``"tiny"`` be a network of our own that compiles fast."""
    architecture = Architecture(
        stem=partial(fb.Stem, features=(8,)),
        stages=(StageRow(8, 2, (partial(fb.FusedMBConv, expansion=1),)),),
        head=fb.Head,
        initialization=Initialization(),
    )
    fb.register_model(fb.ModelRecord("tiny", architecture, preprocess=PREPROCESS))


def make_images(folder: Path, per_class: int = 7, classes: Sequence[str] = "abc") -> Path:
    """Write images of noise, brighter for later classes."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(per_class):
            pixels = rng.integers(0, 128, (20, 18, 3)) + 60 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


def free_port() -> int:
    """Return a port of this machine that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def damage(path: Path) -> None:
    """Cut a file in two and keep the first half."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def numbers(state: TrainState) -> dict[str, np.ndarray]:
    """Return all that a state holds, random keys as their numbers."""
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): _number(leaf) for path, leaf in flat}


def _number(leaf: jax.Array) -> np.ndarray:
    key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if key else leaf)


def same(one: TrainState, other: TrainState) -> bool:
    """Return whether two states have the same bits."""
    a, b = numbers(one), numbers(other)
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def main(images: str, out: str, steps: str) -> None:
    source = ImageFolder(images)
    epochs = int(steps) // (len(source) // BATCH)
    training = Training(
        replace(RECIPE, epochs=epochs), PREPROCESS, batch_size=BATCH, log_every=1, save_every=4
    )
    with Stop() as stop:
        dtype = jnp.float64 if jax.config.read("jax_enable_x64") else jnp.float32
        model = Tiny(dtype=dtype, rngs=nnx.Rngs(0))
        state = training.run(model, source, out, resume=True, stop=stop)
    if stop.asked is not None:
        print(stop.asked.name, int(state.step), flush=True)
    elif jax.process_index() == 0:
        arrays: dict[str, Any] = numbers(state)
        np.savez(Path(out) / "state.npz", **arrays)


if __name__ == "__main__":
    # tensorboardX would spend seconds on importing it
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]
    if sys.argv[1] == "flaxblocks":
        register_tiny()
        sys.exit(command(sys.argv[2:]))
    images, out, steps, *cluster = sys.argv[1:]
    if cluster:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        address, count, process = cluster
        jax.distributed.initialize(address, int(count), int(process))
    main(images, out, steps)


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """Let no file grow beyond a number of bytes, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
