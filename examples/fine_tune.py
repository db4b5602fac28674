"""Fine-tune a network with PyTorch's weights on your own images.

The images are in a folder for each class, ``train/cat/*.jpg`` and ``val/cat/*.jpg``:

    python examples/fine_tune.py photos results --weights torchvision:resnet50/IMAGENET1K_V2

With ``--train head stages.3`` the rest of the network stays as it is, its statistics too.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from flax import nnx

import flaxblocks as fb
from flaxblocks.train import Training, recipes, under
from flaxblocks.train.data import ImageFolder, RandomCrop, flip


def main(arguments: list[str] | None = None) -> None:
    """Fine-tune, and write weights that torchvision's network takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--weights", default="default", help="a tag, a file or an address")
    parser.add_argument("--train", nargs="*", metavar="MODULE", help="train only these modules")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--input-size", type=int, default=224)
    options = parser.parse_args(arguments)

    images = ImageFolder(options.images / "train")
    validation = ImageFolder(options.images / "val", images.classes)
    # The classifier is new: it has as many outputs as there are folders.
    model = fb.create_model(
        options.model,
        weights=options.weights,
        num_classes=images.num_classes,
        rngs=nnx.Rngs(0),
    )

    # Trained weights need small steps, and the first layers the smallest.
    recipe = replace(
        recipes.QUICK,
        epochs=options.epochs,
        learning_rate=4e-4,
        layer_decay=0.9,
        crop=RandomCrop(),
        augmentations=(flip,),
    )
    size = options.input_size
    preprocess = replace(fb.create_preprocess(options.model), resize=size, crop=size)
    trainable = under(*options.train) if options.train else ...
    training = Training(recipe, preprocess, batch_size=options.batch_size, trainable=trainable)
    state = training.run(model, images, options.out, validation=validation, resume=True)
    fb.save_weights(
        state.model(), options.out / "model.safetensors", names=fb.model_info(options.model).source
    )


if __name__ == "__main__":
    main()
