"""Compares public ports of networks with torchvision's and timm's own, and records the outcome.

Nothing of theirs is copied here: name checkouts of jax-ml/bonsai and of keras-team/keras-hub, and
install jax-resnet.

    python -m benchmarks.public_ports --bonsai path/to/bonsai --json ports.json 'bonsai*'
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flax import nnx

from parity import compare
from torch_ref.harness.vendors import allocate, make_network

CHECKS = ("names", "float64", "gradients", "statistics")
Make = Callable[[], Any]


def _bonsai(module: str, network: str, config: str) -> Make:
    def make() -> Any:
        modeling = import_module(f"bonsai.models.{module}.modeling")
        chosen = getattr(modeling.ModelConfig, config)()
        return nnx.eval_shape(lambda: getattr(modeling, network)(chosen, rngs=nnx.Rngs(0)))

    return make


def _jax_resnet(name: str) -> Make:
    return lambda: getattr(import_module("jax_resnet"), name)(n_classes=1000)


def _keras_hub(family: str, architecture: str) -> Make:
    """Return what makes the network that keras-hub would load timm's weights into."""

    def make() -> Any:
        from_timm = import_module(f"keras_hub.src.utils.timm.convert_{family}")
        kind = from_timm.backbone_cls
        heads = import_module(f"keras_hub.src.models.{family}.{family}_image_classifier")
        classifier = getattr(heads, kind.__name__.replace("Backbone", "ImageClassifier"))
        config = from_timm.convert_backbone_config({"architecture": architecture})
        return classifier(kind(**config), num_classes=1000)

    return make


PORTS: dict[str, tuple[Make, tuple[str, str]]] = {
    **{
        f"bonsai EfficientNet B{n}": (
            _bonsai("efficientnet", "EfficientNet", f"b{n}"),
            ("timm", f"efficientnet_b{n}" if n < 5 else f"tf_efficientnet_b{n}"),
        )
        for n in range(8)
    },
    "bonsai ResNet-50": (_bonsai("resnet", "ResNet", "resnet50"), ("torchvision", "resnet50")),
    "bonsai DenseNet-121": (
        _bonsai("densenet121", "DenseNet", "densenet_121"),
        ("torchvision", "densenet121"),
    ),
    "bonsai ConvNeXt-T": (
        _bonsai("convnext", "ConvNeXt", "convnext_tiny_224"),
        ("timm", "convnext_tiny"),
    ),
    "bonsai VGG-19": (_bonsai("vgg19", "VGG", "vgg_19"), ("torchvision", "vgg19")),
    "jax-resnet ResNet-18": (_jax_resnet("ResNet18"), ("torchvision", "resnet18")),
    "jax-resnet ResNet-50": (_jax_resnet("ResNet50"), ("torchvision", "resnet50")),
    **{
        f"keras-hub {name}": (_keras_hub(family, architecture), ("timm", architecture))
        for name, family, architecture in (
            ("ResNet-18", "resnet", "resnet18"),
            ("ResNet-50", "resnet", "resnet50"),
            ("ResNetV2-50", "resnet", "resnetv2_50"),
            ("DenseNet-121", "densenet", "densenet121"),
            ("EfficientNet B0", "efficientnet", "efficientnet_b0"),
            ("MobileNetV3-Small 0.5", "mobilenet", "mobilenetv3_small_050"),
        )
    },
}
"""What makes each port, and the source and name of the network that it is a port of."""


def main() -> None:
    """Compare the ports whose names match, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["*"], help="ports by name")
    parser.add_argument("--bonsai", type=Path, help="a checkout of jax-ml/bonsai")
    parser.add_argument("--keras-hub", type=Path, help="a checkout of keras-team/keras-hub")
    parser.add_argument("--checks", nargs="+", default=CHECKS, choices=CHECKS)
    parser.add_argument("--size", type=int, default=64, help="pixels of an image's side")
    parser.add_argument("--json", type=Path, required=True, help="the result file, added to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["KERAS_BACKEND"] = "jax"
    sys.path[:0] = [str(path) for path in (options.bonsai, options.keras_hub) if path is not None]
    for name, (make, source) in PORTS.items():
        if any(fnmatch(name, pattern) for pattern in options.patterns):
            theirs = make_network(*source)
            allocate(theirs)
            found = _outcome(theirs, make(), options.size, options.checks)
            found |= {"beside": " ".join(source), "version": _version(name, options)}
            print(name, json.dumps(found, indent=1), flush=True)
            known = json.loads(options.json.read_text()) if options.json.exists() else {}
            options.json.write_text(json.dumps(known | {name: found}, indent=1) + "\n")


def _outcome(
    theirs: torch.nn.Module, ours: Any, size: int, checks: Sequence[str]
) -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)
    report = compare(theirs, ours, x, names="found", checks=checks)
    return {
        "pixels": size,
        "checks": {check: report.passed(check) for check in report.checks},
        "tensors": len(theirs.state_dict()),
        "tensors with a counterpart": len(report.names),
        "only on one side": [r.quantity for r in report.of("names") if r.ok is False][:20],
        "equal": report.ok,
        "causes": list(report.causes),
        "seconds": round(report.seconds, 1),
    }


def _version(name: str, options: argparse.Namespace) -> str:
    port = name.partition(" ")[0]
    checkout = {"bonsai": options.bonsai, "keras-hub": options.keras_hub}.get(port)
    if checkout is None:
        return metadata.version(port)
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
