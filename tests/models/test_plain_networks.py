"""The parts of torchvision's networks without residual branches, and what these refuse."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torchvision.models import densenet, shufflenetv2, squeezenet
from torchvision.models import inception as torchvision_inception

import flaxblocks as fb
from flaxblocks.blocks.auxiliary_head import InceptionAuxiliary
from flaxblocks.blocks.dense import DenseLayer, Transition
from flaxblocks.blocks.fire import ConvHead, Fire
from flaxblocks.blocks.flat_head import FlatHead
from flaxblocks.blocks.inception import Branches
from flaxblocks.blocks.shuffle import ShuffleUnit
from flaxblocks.models import inception
from flaxblocks.ops import adaptive_average_pool, max_pool
from flaxblocks.weights.legacy_names import in_todays_names
from parity.checks import measure
from parity.checks.tolerance import bound
from parity.sides.weights import randomize
from tests.helpers.networks import abstract, flax_network, torch_network
from tests.helpers.parts import assert_equal, gradients
from tests.helpers.typed import present
from torch_ref.harness.layout import from_nhwc


class JoinedLayer(densenet._DenseLayer):
    """torchvision's layer, which leaves it to the stage to keep the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, super().forward(x)], 1)


SHAPE = (3, 7, 5, 8)
PARTS = {
    "fire": (
        partial(Fire, 8, 12, squeeze_features=4),
        partial(squeezenet.Fire, 8, 4, 6, 6),
    ),
    "dense layer": (
        partial(DenseLayer, 8, 14),
        partial(JoinedLayer, 8, 6, 4, 0.0),
    ),
    "transition": (partial(Transition, 8, 4), partial(densenet._Transition, 8, 4)),
    "shuffle": (partial(ShuffleUnit, 8, 8), partial(shufflenetv2.InvertedResidual, 8, 8, 1)),
    "shuffle with stride": (
        partial(ShuffleUnit, 8, 12, stride=2),
        partial(shufflenetv2.InvertedResidual, 8, 12, 2),
    ),
    "inception with a split": (
        partial(Branches, 8, 2048, branches=inception.E[1]),
        partial(torchvision_inception.InceptionE, 8),
    ),
}


@pytest.mark.parametrize("make,make_torch", PARTS.values(), ids=PARTS)
def test_parts_have_torchvisions_names_outputs_gradients_and_statistics(make, make_torch, x64):
    rng = np.random.default_rng(0)
    twin = make_torch().double()
    randomize(twin, rng)
    module = make(param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    fb.load_state_dict(module, twin.state_dict(), names="torchvision")
    image = rng.normal(size=SHAPE)
    x = from_nhwc(image).requires_grad_()
    y = twin.train()(x).permute(0, 2, 3, 1)
    weights = rng.normal(size=y.shape)
    (y * torch.from_numpy(weights)).sum().backward()

    output, of_params, of_input = gradients(module, jnp.asarray(image), jnp.asarray(weights))

    assert_equal(output, y, "output")
    assert_equal(of_input, present(x.grad).permute(0, 2, 3, 1), "gradient")
    moved = fb.state_dict(module, names="torchvision")
    for name, value in twin.named_buffers():
        if "running" in name:
            assert_equal(moved[name], value, "statistic", name)
    nnx.update(module, of_params)  # so that the gradients get torchvision's names
    named = fb.state_dict(module, names="torchvision")
    truths = {name: parameter.grad.numpy() for name, parameter in twin.named_parameters()}
    scale = max(np.abs(truth).max() for truth in truths.values())  # that of some biases is 0
    for name, truth in truths.items():
        error = measure.scaled_error(named[name], truth, scale)
        assert error <= bound("float64", "gradient"), name


@pytest.mark.parametrize("size,pixels", [(7, (7, 7)), (7, (3, 10)), (6, (13, 1)), (2, (5, 8))])
def test_adaptive_average_pool_is_pytorchs(size: int, pixels: tuple[int, int], x64):
    image = np.random.default_rng(0).normal(size=(2, *pixels, 3))
    truth = torch.nn.functional.adaptive_avg_pool2d(from_nhwc(image), size).permute(0, 2, 3, 1)
    assert_equal(adaptive_average_pool(jnp.asarray(image), (size, size)), truth, "output")


@pytest.mark.parametrize("pixels", [(7, 8), (5, 6), (3, 4)])
def test_max_pool_rounds_up_as_pytorch_does(pixels: tuple[int, int], x64):
    image = np.random.default_rng(0).normal(size=(2, *pixels, 3))
    truth = torch.nn.functional.max_pool2d(from_nhwc(image), 3, 2, ceil_mode=True)
    ours = max_pool(jnp.asarray(image), padding=0, ceil_mode=True)
    np.testing.assert_array_equal(ours, truth.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("name", ["vgg11", "alexnet", "squeezenet1_1"])
def test_heads_can_be_left_out_and_made_anew(name: str):
    network = nnx.eval_shape(lambda: fb.create_model(name, num_classes=0, rngs=nnx.Rngs(0)))
    x = jnp.ones((2, 67, 71, 3))
    out = nnx.eval_shape(lambda network, x: network(x), network, x)
    assert out.shape == (2, network.num_features) and network.num_classes == 0
    network.reset_classifier(7, rngs=nnx.Rngs(0))
    out = nnx.eval_shape(lambda network, x: network(x), network, x)
    assert out.shape == (2, 7) and network.num_classes == 7
    before = nnx.eval_shape(
        lambda n, x: n.forward_head(n.forward_features(x), pre_logits=True), network, x
    )
    assert before.shape == (2, network.num_features)


def test_feature_maps_are_what_feature_info_says():
    for name in ("vgg11", "squeezenet1_0", "shufflenet_v2_x0_5"):
        network = abstract(name)
        maps = nnx.eval_shape(lambda n, x: n.features(x), network, jnp.ones((1, 64, 96, 3)))
        assert [m.shape[3] for m in maps] == [info.features for info in network.feature_info]
        assert network.feature_info[-1].stride in (16, 32)


@pytest.mark.parametrize(
    "make,message",
    [
        (partial(Fire, 8, 9, squeeze_features=4), "`out_features` must divide"),
        (partial(DenseLayer, 8, 8), "`out_features` must exceed"),
        (partial(Transition, 8, 4, stride=1), "`stride` must be 2"),
        (partial(ShuffleUnit, 8, 12), "`out_features` must equal"),
        (partial(FlatHead, 8, 3, size=0), "`size` must be a positive integer"),
        (partial(ConvHead, 8, -1), "`num_classes` must be"),
    ],
)
def test_bad_arguments_are_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make(rngs=nnx.Rngs(0))


def test_an_auxiliary_head_is_torchvisions(x64):
    image = np.random.default_rng(0).normal(size=(2, 18, 17, 8))
    twin = torchvision_inception.InceptionAux(8, 5).double().eval()
    randomize(twin, np.random.default_rng(0))
    head = InceptionAuxiliary(8, 5, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    names = {"conv0.": "conv.", "conv1.": "neck.", "fc.": "classifier."}
    weights = {
        name.replace(theirs, ours).replace(".bn.", ".norm."): value
        for name, value in twin.state_dict().items()
        for theirs, ours in names.items()
        if name.startswith(theirs)
    }
    fb.load_state_dict(head, weights)
    head.eval()
    assert_equal(head(jnp.asarray(image)), twin(from_nhwc(image)), "output")


@pytest.mark.slow
def test_auxiliary_logits_are_googlenets(x64):
    image = np.random.default_rng(0).normal(size=(2, 65, 67, 3))
    twin = torch_network("googlenet", image)
    del twin.eager_outputs  # as made: in training it returns all three
    network = flax_network("googlenet", twin.state_dict())
    for module in twin.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    network.eval()
    network.set_attributes(use_running_average=False, raise_if_not_found=False)
    truth, second, first = twin.train()(from_nhwc(image))
    logits, others = nnx.jit(lambda network, x: network.forward_auxiliary(x))(network, image)
    for ours, theirs in zip((logits, *others), (truth, first, second), strict=True):
        assert_equal(ours, theirs, "output")


def test_old_names_of_densenets_are_todays():
    old = {"features.denseblock1.denselayer12.norm.1.weight": 1, "features.norm5.weight": 2}
    new = {"features.denseblock1.denselayer12.norm1.weight": 1, "features.norm5.weight": 2}
    assert in_todays_names(old) == new


def test_a_new_classifier_is_one_in_every_head():
    network = nnx.eval_shape(lambda: fb.create_model("googlenet", rngs=nnx.Rngs(0)))
    network.reset_classifier(7, rngs=nnx.Rngs(0))
    assert [present(head.classifier).out_features for head in network.auxiliary] == [7, 7]


@pytest.mark.parametrize("option", [{"drop_path_rate": 0.1}, {"output_stride": 16}])
def test_what_these_networks_cannot_do_is_said(option: dict):
    (name,) = option
    with pytest.raises(ValueError, match=rf"`{name}` must be (0|None) "):
        nnx.eval_shape(lambda: fb.create_model("vgg11", **option, rngs=nnx.Rngs(0)))
