"""Distil a trained network into a smaller one: it learns the other's opinion of each image.

    python examples/distil.py photos results --teacher-weights teacher.safetensors

Source: Hinton et al. 2015, Distilling the Knowledge in a Neural Network.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

import flaxblocks as fb
from flaxblocks.train import RECIPES, make_mesh, normalize
from flaxblocks.train.data import ImageFolder
from flaxblocks.train.run.training import Training
from flaxblocks.train.step.state import apply_model

TEMPERATURE = 4.0


def make_step(teacher, prepare, optimizer):
    """Return a train step whose target is the teacher's softened answer."""
    teacher.eval()
    graphdef, weights = nnx.split(teacher)
    weights = jax.device_put(weights, NamedSharding(make_mesh(), PartitionSpec()))

    @partial(jax.jit, donate_argnums=0)
    def step(state, batch, weights):
        image = prepare(batch["image"])
        target = jax.nn.softmax(nnx.merge(graphdef, weights)(image) / TEMPERATURE)

        def loss_of(params):
            logits, *new = apply_model(state.graphdef, params, state.statistics, state.rng, image)
            losses = optax.softmax_cross_entropy(logits / TEMPERATURE, target)
            right = (logits.argmax(-1) == batch["label"]).mean()
            return TEMPERATURE**2 * losses.mean(), (*new, right)

        gradient_of = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (statistics, rng, right)), gradients = gradient_of(state.params)
        updates, moments = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        new = {"params": params, "statistics": statistics, "rng": rng, "optimizer": moments}
        return replace(state, step=state.step + 1, **new), {"loss": loss, "accuracy": right}

    return lambda state, batch: step(state, batch, weights)


def main(arguments: list[str] | None = None) -> None:
    """Train the student, and write its weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="a folder for each class")
    parser.add_argument("out", type=Path)
    parser.add_argument("--teacher", default="resnet50")
    parser.add_argument("--teacher-weights", required=True, help="with torchvision's names")
    parser.add_argument("--student", default="mobilenet_v3_small")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=224)
    options = parser.parse_args(arguments)

    images = ImageFolder(options.images)
    teacher = fb.create_model(options.teacher, num_classes=images.num_classes, rngs=nnx.Rngs(0))
    fb.load_weights(teacher, options.teacher_weights, names="torchvision")
    student = fb.create_model(options.student, num_classes=images.num_classes, rngs=nnx.Rngs(1))
    size = options.image_size
    preprocess = replace(fb.create_preprocess(options.teacher), resize=size, crop=size)
    training = Training(
        replace(RECIPES["quick"], epochs=options.epochs, augmentations=("crop", "flip")),
        preprocess,
        batch_size=options.batch_size,
        make_step=partial(make_step, teacher, normalize(preprocess.mean, preprocess.std)),
    )
    state = training.run(student, images, options.out, resume=True)
    fb.save_weights(state.model(), options.out / "model.safetensors", names="torchvision")


if __name__ == "__main__":
    main()
