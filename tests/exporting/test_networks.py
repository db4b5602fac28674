"""Every network of torchvision's and a spread of timm's through every format, on photographs.

    FLAXBLOCKS_EXPORT_RECORD=benchmarks/export-networks-cpu-DATE.json \
        pytest -n 0 -m slow tests/exporting/test_networks.py

What the file has already is left out, so that it goes on where it was stopped.
"""

import json
import os
from copy import deepcopy
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import flaxblocks as fb
from flaxblocks._base.command_line import versions
from flaxblocks.exporting.formats import FORMATS
from flaxblocks.exporting.prepare import one_array
from flaxblocks.exporting.verify import compared
from parity.checks.tolerance import bound
from tests.helpers.exported import FORMAT_NAMES, normalized_crops
from tests.helpers.networks import NO_FACTORS, flax_network, torch_network
from torch_ref.harness.layout import from_nhwc

pytestmark = pytest.mark.slow

SPREAD = (
    "bat_resnext26ts",
    "caformer_s18",
    "convformer_s18",
    "convnext_atto_ols",
    "convnext_atto_rms",
    "convnextv2_atto",
    "cs3darknet_focus_s",
    "cs3darknet_s",
    "cs3sedarknet_xdw",
    "cspresnext50",
    "darknet17",
    "darknetaa53",
    "densenetblur121d",
    "dla46_c",
    "dla46x_c",
    "eca_nfnet_l0",
    "ecaresnet26t",
    "ecaresnet50d_pruned",
    "ecaresnext26t_32x4d",
    "efficientnet_b0",
    "efficientnet_b0_g8_gn",
    "efficientnet_blur_b0",
    "efficientnet_cc_b0_4e",
    "efficientnet_es",
    "efficientnet_lite0",
    "efficientnet_x_b3",
    "efficientnetv2_rw_t",
    "fbnetc_100",
    "fbnetv3_b",
    "gc_efficientnetv2_rw_t",
    "gcresnext26ts",
    "gernet_s",
    "ghostnet_050",
    "ghostnet_100",
    "ghostnetv2_100",
    "ghostnetv3_050",
    "hardcorenas_a",
    "hgnet_tiny",
    "hgnetv2_b0",
    "inception_next_atto",
    "lcnet_050",
    "legacy_seresnet18",
    "legacy_seresnext26_32x4d",
    "mixnet_s",
    "mnasnet_small",
    "mobilenet_edgetpu_v2_xs",
    "mobilenetv1_100h",
    "mobilenetv2_110d",
    "mobilenetv3_rw",
    "mobilenetv4_conv_aa_medium",
    "mobilenetv4_conv_small",
    "mobilenetv4_hybrid_medium_075",
    "mobileone_s0",
    "nf_regnet_b0",
    "nf_resnet26",
    "poolformer_s12",
    "poolformerv2_s12",
    "regnetv_040",
    "regnetx_002",
    "regnety_002",
    "regnety_040_sgn",
    "regnetz_005",
    "regnetz_b16_evos",
    "repghostnet_050",
    "repvgg_a0",
    "repvgg_d2se",
    "repvit_m1",
    "res2net50_26w_4s",
    "res2next50",
    "resnet10t",
    "resnet32ts",
    "resnet50_clip",
    "resnet50_clip_gap",
    "resnet50_gn",
    "resnet50_mlp",
    "resnet51q",
    "resnetaa34d",
    "resnetblur18",
    "resnetrs50",
    "resnetv2_18",
    "resnetv2_50d_evos",
    "resnetv2_50d_frn",
    "resnetv2_50x1_bit",
    "rexnet_100",
    "rexnetr_100",
    "sedarknet21",
    "semnasnet_075",
    "seresnet18",
    "spnasnet_100",
    "starnet_s050",
    "test_byobnet",
    "test_convnext",
    "test_convnext2",
    "test_convnext3",
    "test_efficientnet",
    "test_efficientnet_evos",
    "test_efficientnet_gn",
    "test_efficientnet_ln",
    "test_nfnet",
    "test_resnet",
    "tf_efficientnet_b0",
    "tf_efficientnetv2_b0",
    "tf_mobilenetv3_small_minimal_100",
    "tinynet_e",
    "vgg11_bn",
)
"""Of timm's, one of each kind of block, stem, norm and activation."""

NETWORKS = (
    *sorted(
        (name for name in fb.list_models() if "/" not in name),
        key=lambda name: fb.model_info(name).parameters or 0,
    ),
    *(f"timm/{name}" for name in SPREAD),
)

LARGER = {"alexnet": 224, "vgg": 224, "inception": 96, "bat_": 256}
"""Height and width in pixels of those whose layers leave nothing of 64, by a part of the name."""

STEEP = {"timm/repvgg_d2se": {".attn.": 0.1}, "timm/resnet50_clip": {"head.q.": 0.03}}
"""Networks whose gates and attention are steps as they are drawn, and what makes them less steep.

Scores of up to 2030 go into the second's softmax; where two are near to each other it makes 1e-5
of 1e-7, in PyTorch's own float32 too.
"""

TOO_LARGE = {("regnet_y_128gf", format) for format in ("stablehlo", "onnx", "litert")}
"""Has more weights than such a file holds, which `export` says."""

RECORD = os.environ.get("FLAXBLOCKS_EXPORT_RECORD")


def recorded() -> dict[str, Any]:
    """Return the file of results."""
    if RECORD is None or not Path(RECORD).exists():
        return {"networks": {}}
    return json.loads(Path(RECORD).read_text())


DONE = recorded()["networks"]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        (name, format)
        for name in NETWORKS
        for format in (FORMATS if find_spec("litert_converter") else FORMAT_NAMES)
        if format not in DONE.get(name, ()) and (name, format) not in TOO_LARGE
    ],
)
def test_is_the_same_function(name: str, format: str, tmp_path):
    model, images, expected, twin = given(name)
    path = tmp_path / f"model{FORMATS[format].suffixes[0]}"
    batch = len(images) if "_cc_" in name else "dynamic"  # a kernel for each image
    fb.export(model, path, input_size=images.shape[1], batch=batch)
    exported = fb.load_exported(path)
    found = compared(exported, expected, images)
    every_pixel = expected.ndim == 4  # has a class, some of which lie between two
    assert every_pixel or found.same_class == len(images), found
    row = {"difference": found.difference}
    if not found.ok:  # where each of two rounds by 0.9e-5 they may be 1.8e-5 apart
        truth = outputs(deepcopy(twin).double(), images.astype(np.float64))
        exact = compared(exported, truth, images)
        own = np.abs(outputs(twin, images) - truth).max() / np.abs(truth).max()
        row |= {"difference_from_float64": exact.difference, "of_pytorch": float(own)}
        assert exact.ok or exact.difference <= bound("float32", "output") * own, (found, row)
    path.unlink()
    record(name, format, images.shape[1], found.same_class, row)


@lru_cache(maxsize=1)
def given(name: str) -> tuple[nnx.Module, np.ndarray, np.ndarray, torch.nn.Module]:
    """Return a network with random weights, photographs, their logits in JAX, and its twin."""
    jax.clear_caches()
    preprocess = fb.model_info(name).preprocess
    size = next((size for part, size in LARGER.items() if part in name), 64)
    images = normalized_crops(preprocess, 4, size)
    # The statistics fit the photographs, else maps grow, and rounding with them: a gate whose
    # input is a thousand is a step.
    factors = STEEP.get(name, NO_FACTORS)
    twin = torch_network(name, images.astype(np.float64), factors=factors).float()
    model = flax_network(name, twin.state_dict(), param_dtype=jnp.float32)
    model.eval()
    graphdef, streams, state = nnx.split(model, nnx.RngState, ...)
    run = jax.jit(lambda state, x: one_array(nnx.merge(graphdef, streams, state)(x)))
    expected = np.asarray(run(state, images))
    assert np.std(expected[0] - expected[1]) > 1e-3 * np.std(expected)  # the image is not lost
    return model, images, expected, twin.eval()


@torch.no_grad()
def outputs(twin: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Return what PyTorch's network computes."""
    found = twin(from_nhwc(images))
    return found["out"].permute(0, 2, 3, 1).numpy() if isinstance(found, dict) else found.numpy()


def record(name: str, format: str, size: int, same_class: int, row: dict[str, float]) -> None:
    """Add a result to the file of results, where one is wanted."""
    if RECORD is None:
        return
    content = recorded()
    packages = ("jax", "onnx", "onnxruntime", "torch", "ai-edge-litert", "litert-converter")
    content.setdefault("versions", {})[format] = versions(packages)
    rounded = {key: float(f"{value:.2g}") for key, value in row.items()}
    rows = content["networks"].setdefault(name, {"pixels": size})
    rows[format] = {**rounded, "same_class": same_class}
    Path(RECORD).write_text(json.dumps(content, indent=1) + "\n")
