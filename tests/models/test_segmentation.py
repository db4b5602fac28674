"""Segmentation networks and the feature pyramid are torchvision's, and say what they cannot do."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torchvision.models.segmentation import deeplabv3, fcn, lraspp
from torchvision.ops import feature_pyramid_network as pyramid

import flaxblocks as fb
from flaxblocks.blocks.dense_head import DeepLabHead, FCNHead, LRASPPHead
from flaxblocks.models import Segmenter
from flaxblocks.ops import bilinear_resize, nearest_resize
from flaxblocks.weights.state_dict import NAMES
from parity.checks import measure
from parity.checks.tolerance import bound
from parity.sides.weights import randomize
from tests.helpers.networks import (
    SEGMENTERS,
    abstract,
    abstract_torch,
    flax_network,
    torch_network,
)
from tests.helpers.parts import assert_equal
from tests.helpers.typed import gradient_of
from torch_ref.harness.layout import from_nhwc

LARGE, MIDDLE, SMALL = (2, 9, 7, 4), (2, 5, 4, 6), (2, 3, 2, 8)
Call = Callable[..., list[torch.Tensor]]


def _mapping(*maps: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
    return OrderedDict((f"{i}", x) for i, x in enumerate(maps))


def _alone(twin: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    return [twin(x)]


def _both(twin: torch.nn.Module, low: torch.Tensor, high: torch.Tensor) -> list[torch.Tensor]:
    return [twin({"low": low, "high": high})]


def _levels(twin: torch.nn.Module, *maps: torch.Tensor) -> list[torch.Tensor]:
    return list(twin(_mapping(*maps)).values())


def _pyramid(
    extra: Callable[..., Any] | None = None, norm: Any = None, **arguments: Any
) -> nnx.Module:
    make = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    if extra is not None and extra is not fb.last_level_max_pool:
        extra = extra(**make)
    return fb.FeaturePyramidNetwork((4, 6, 8), 5, extra=extra, norm=norm, **arguments)


fpn = partial(pyramid.FeaturePyramidNetwork, [4, 6, 8], 5)
PARTS: dict[str, tuple[Callable[..., Any], Callable[[], Any], Call, list[tuple[int, ...]]]] = {
    "FCN head": (
        partial(FCNHead, 8, 3, drop_rate=0.0),
        lambda: fcn.FCNHead(8, 3),
        _alone,
        [SMALL],
    ),
    "DeepLabV3 head": (
        partial(DeepLabHead, 8, 3, drop_rate=0.0),
        lambda: deeplabv3.DeepLabHead(8, 3),
        _alone,
        [SMALL],
    ),
    "LR-ASPP head": (
        partial(LRASPPHead, 8, 3, low_features=4),
        lambda: lraspp.LRASPPHead(4, 8, 3, 128),
        _both,
        [LARGE, SMALL],
    ),
    "pyramid": (
        partial(_pyramid, fb.last_level_max_pool),
        partial(fpn, pyramid.LastLevelMaxPool()),
        _levels,
        [LARGE, MIDDLE, SMALL],
    ),
    "pyramid with norms and P6, P7": (
        partial(_pyramid, partial(fb.LastLevelP6P7, 8, 5), fb.BatchNorm),
        lambda: fpn(pyramid.LastLevelP6P7(8, 5), torch.nn.BatchNorm2d),
        _levels,
        [LARGE, MIDDLE, SMALL],
    ),
}


@nnx.jit
def _gradients(module: Any, inputs: list[jax.Array], weights: list[jax.Array]) -> Any:
    """Return the outputs in train mode, and the gradients of their weighted sum."""

    def loss(net: Any, inputs: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        is_pyramid = isinstance(net, fb.FeaturePyramidNetwork)
        outputs = net(inputs) if is_pyramid else [net(*inputs)]
        total = jnp.asarray(sum((y * w).sum() for y, w in zip(outputs, weights, strict=True)))
        return total, outputs

    return nnx.grad(loss, argnums=(0, 1), has_aux=True)(module, inputs)


@pytest.mark.parametrize(("make", "make_torch", "call", "shapes"), PARTS.values(), ids=PARTS)
def test_parts_have_torchvisions_names_outputs_gradients_and_statistics(
    make: Callable[..., Any],
    make_torch: Callable[[], Any],
    call: Call,
    shapes: list[tuple[int, ...]],
    x64: None,
):
    rng = np.random.default_rng(0)
    twin = make_torch().double()
    randomize(twin, rng)
    for part in twin.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    module = make(param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    fb.load_state_dict(module, twin.state_dict(), names="torchvision")
    images = [rng.normal(size=shape) for shape in shapes]
    inputs = [from_nhwc(image).requires_grad_() for image in images]
    truths = [y.permute(0, 2, 3, 1) for y in call(twin.train(), *inputs)]
    weights = [rng.normal(size=y.shape) for y in truths]
    total = sum((y * torch.from_numpy(w)).sum() for y, w in zip(truths, weights, strict=True))
    assert isinstance(total, torch.Tensor)
    total.backward()

    (of_params, of_inputs), outputs = _gradients(
        module, list(map(jnp.asarray, images)), list(map(jnp.asarray, weights))
    )

    for output, truth in zip(outputs, truths, strict=True):
        assert_equal(output, truth, "output")
    for gradient, x in zip(of_inputs, inputs, strict=True):
        assert_equal(gradient, gradient_of_image(x), "gradient")
    moved = fb.state_dict(module, names="torchvision")
    for name, value in twin.named_buffers():
        if "running" in name:
            assert_equal(moved[name], value, "statistic", name)
    nnx.update(module, of_params)  # so that the gradients get torchvision's names
    named = fb.state_dict(module, names="torchvision")
    expected = {name: gradient_of(parameter) for name, parameter in twin.named_parameters()}
    scale = max(np.abs(value).max() for value in expected.values())  # that of some biases is 0
    for name, value in expected.items():
        error = measure.scaled_error(named[name], value, scale)
        assert error <= bound("float64", "gradient"), name


def gradient_of_image(x: torch.Tensor) -> torch.Tensor:
    assert x.grad is not None
    return x.grad.permute(0, 2, 3, 1)


def test_resizing_takes_pytorchs_pixels(x64: None):
    """Along one axis; the tests of the heads do both."""
    rng = np.random.default_rng(0)
    sizes = [(3, 7), (7, 3), (33, 40), (5, 20), (20, 5), (1, 4), (4, 1)]
    images = [rng.normal(size=(1, h, 1, 2)) for h, _ in sizes]

    @jax.jit
    def resized(images: list[jax.Array]) -> list[tuple[jax.Array, jax.Array]]:
        return [
            (nearest_resize(image, (p, 1)), bilinear_resize(image, (p, 1)))
            for image, (_, p) in zip(images, sizes, strict=True)
        ]

    results = resized(list(map(jnp.asarray, images)))
    for image, (_, p), (nearest, bilinear) in zip(images, sizes, results, strict=True):
        x, size = from_nhwc(image), (p, 1)
        truth = torch.nn.functional.interpolate(x, size=size, mode="nearest")
        np.testing.assert_array_equal(nearest, truth.permute(0, 2, 3, 1))
        truth = torch.nn.functional.interpolate(x, size=size, mode="bilinear")
        assert_equal(bilinear, truth.permute(0, 2, 3, 1), "output")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name.startswith("lraspp") else [pytest.mark.slow])
        for name in SEGMENTERS
    ],
)
def test_names_and_shapes_are_torchvisions(name: str):
    entries = NAMES["torchvision"](abstract(name))
    ours = {key: tuple(entry.shape) for key, entry in entries.items()}
    theirs = {key: tuple(value.shape) for key, value in abstract_torch(name).state_dict().items()}
    assert ours == theirs and list(ours) == list(theirs)
    assert len({id(entry.variable) for entry in entries.values()}) == len(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEGMENTERS)
def test_logits_equal_torchvisions_in_float64(name: str, x64: None):
    image = np.random.default_rng(1).normal(size=(2, 70, 67, 3))
    twin = torch_network(name, image).eval()
    network = flax_network(name, twin.state_dict())
    network.eval()
    with torch.no_grad():
        truth = {key: y.permute(0, 2, 3, 1) for key, y in twin(from_nhwc(image)).items()}
    for model in (network, fb.for_inference(network)):
        logits: Any = nnx.jit(lambda model, x: model(x))(model, jnp.asarray(image))
        assert logits.keys() == truth.keys()
        for key, value in truth.items():
            assert_equal(logits[key], value, "output", key)


def test_a_segmenter_is_a_backbone_with_other_heads():
    network = abstract("lraspp_mobilenet_v3_large")
    assert isinstance(network, Segmenter) and network.num_classes == 21
    image = jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.float32)
    maps = nnx.eval_shape(lambda net, x: net.features(x), network, image)
    assert [m.shape[3] for m in maps] == [info.features for info in network.feature_info]
    assert network.feature_info[-1].stride == 16
    logits, others = nnx.eval_shape(lambda net, x: net.forward_auxiliary(x), network, image)
    assert logits.shape == (1, 64, 96, 21) and others == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "keys"), [("lraspp_mobilenet_v3_large", {"out"}), ("fcn_resnet50", {"out", "aux"})]
)
def test_classifiers_can_be_left_out_and_made_anew(name: str, keys: set[str]):
    network = nnx.eval_shape(lambda: fb.create_model(name, num_classes=0, rngs=nnx.Rngs(0)))
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    outputs: Any = nnx.eval_shape(lambda net, x: net(x), network, image)
    assert outputs.keys() == keys and outputs["out"].shape[3] == network.num_features
    network.reset_classifier(5, rngs=nnx.Rngs(0))
    outputs = nnx.eval_shape(lambda net, x: net(x), network, image)
    assert {y.shape for y in outputs.values()} == {(1, 32, 32, 5)}


@pytest.mark.slow
def test_a_new_head_keeps_every_classifier_of_its_own():
    weights = fb.state_dict(
        fb.create_model("lraspp_mobilenet_v3_large", num_classes=3, rngs=nnx.Rngs(0)),
        names="torchvision",
    )
    network = fb.create_model("lraspp_mobilenet_v3_large", num_classes=5, rngs=nnx.Rngs(1))
    own = fb.state_dict(network, names="torchvision")
    fb.load_state_dict(network, weights, names="torchvision", new_head=True)
    loaded = fb.state_dict(network, names="torchvision")
    for name, value in loaded.items():
        is_classifier = name.startswith(("classifier.low_c", "classifier.high_c"))
        np.testing.assert_array_equal(value, (own if is_classifier else weights)[name])


def test_a_network_that_timm_has_not_is_refused_where_timms_is_needed():
    network = abstract("lraspp_mobilenet_v3_large")
    with pytest.raises(ValueError, match="a network that timm has"):
        fb.save_pretrained(network, "folder", preprocess=fb.Preprocess(64, 64))


def test_bad_arguments_of_a_pyramid_are_refused():
    with pytest.raises(ValueError, match="`in_features` must have the channels"):
        fb.FeaturePyramidNetwork((), 8, rngs=nnx.Rngs(0))
    network = fb.FeaturePyramidNetwork((4, 8), 8, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`maps` must be 2 feature maps, got 1"):
        network([jnp.ones((1, 4, 4, 4))])
