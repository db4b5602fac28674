"""Train a network from scratch on all devices, or on a CPU that simulates eight.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python examples/many_devices.py photos out

With ``--shard`` each device holds a part of the parameters and of the optimizer's state, not all
of them. The result is the same but for rounding.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import jax
from flax import nnx

import flaxblocks as fb
from flaxblocks.train import Training, recipes, replicate, shard_largest
from flaxblocks.train.data import ImageFolder, RandomCrop, flip


def main(arguments: list[str] | None = None) -> None:
    """Train, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="a folder for each class")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="mobilenet_v3_small")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=256, help="over all devices")
    parser.add_argument("--input-size", type=int, default=128)
    parser.add_argument("--shard", action="store_true")
    options = parser.parse_args(arguments)

    images = ImageFolder(options.images)
    model = fb.create_model(options.model, num_classes=images.num_classes, rngs=nnx.Rngs(0))
    size = options.input_size
    training = Training(
        replace(recipes.QUICK, epochs=options.epochs, crop=RandomCrop(), augmentations=(flip,)),
        replace(fb.create_preprocess(options.model), resize=size, crop=size),
        batch_size=options.batch_size,
        devices=jax.devices(),
        rule=shard_largest if options.shard else replicate,
    )
    # An interrupted run is resumed, even on another number of devices.
    state = training.run(model, images, options.out, resume=True)
    fb.save_weights(state.model(), options.out / "model.safetensors")


if __name__ == "__main__":
    main()
