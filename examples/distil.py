"""Distill a trained network into a smaller one, which learns its answers to each image.

    python examples/distil.py photos results --teacher-weights teacher.safetensors

Source: Hinton et al. 2015, Distilling the Knowledge in a Neural Network.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from flax import nnx

import flaxblocks as fb
from flaxblocks.train import Distillation, Training, recipes
from flaxblocks.train.data import ImageFolder, RandomCrop, flip


def main(arguments: list[str] | None = None) -> None:
    """Train the student, and write its weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="a folder for each class")
    parser.add_argument("out", type=Path)
    parser.add_argument("--teacher", default="resnet50")
    parser.add_argument("--teacher-weights", required=True, help="a file")
    parser.add_argument("--student", default="mobilenet_v3_small")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--input-size", type=int, default=224)
    options = parser.parse_args(arguments)

    images = ImageFolder(options.images)
    teacher = fb.create_model(options.teacher, weights=options.teacher_weights, rngs=nnx.Rngs(0))
    student = fb.create_model(options.student, num_classes=images.num_classes, rngs=nnx.Rngs(1))
    recipe = replace(
        recipes.QUICK,
        epochs=options.epochs,
        loss=Distillation(teacher, temperature=4.0, weight=0.9),
        crop=RandomCrop(),
        augmentations=(flip,),
    )
    size = options.input_size
    preprocess = replace(fb.create_preprocess(options.teacher), resize=size, crop=size)
    training = Training(recipe, preprocess, batch_size=options.batch_size)
    state = training.run(student, images, options.out, resume=True)
    fb.save_weights(
        state.model(),
        options.out / "model.safetensors",
        names=fb.model_info(options.student).source,
    )


if __name__ == "__main__":
    main()
