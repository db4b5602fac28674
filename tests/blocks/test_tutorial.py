"""With their defaults the blocks are the tutorial's, written here a third time as it prints them.

Each is a flat function of `torch.nn.functional` operations that draws its own parameters, in the
order in which the tutorial registers them; `torch_ref` and flaxblocks take them over.
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import Tensor
from torch.nn import functional as F

import flaxblocks as fb
import torch_ref
from parity.checks import measure
from parity.checks.tolerance import bound
from parity.sides import flax_side, torch_side
from parity.sides.frame import Frame
from parity.sides.torch_side import TorchRun
from tests.helpers.twins import assert_same, image
from tests.helpers.typed import gradient_of, present
from torch_ref.harness.layout import from_nhwc, to_nhwc
from torch_ref.harness.passes import half_mean_square

SIZE = (3, 5, 4)  # n, h, w


class Parameters:
    """A block's parameters and statistics in the order of registration, drawn at its first call."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.arrays: list[Tensor] = []
        self.taken = 0
        self.training = False

    def next(self, first: Tensor) -> Tensor:
        """Return the array that is next, which is `first` in the first call."""
        if self.taken == len(self.arrays):
            self.arrays.append(first)
        self.taken += 1
        return self.arrays[self.taken - 1]

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.rng.normal(0, 0.5, shape))

    def positive(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.rng.uniform(0.5, 2, shape))

    def conv(
        self, x: Tensor, a: int, b: int, k: int, groups: int = 1, padding: int | None = None
    ) -> Tensor:
        weight = self.next(self.normal(b, a // groups, k, k).requires_grad_())
        bias = self.next(self.normal(b).requires_grad_())
        return F.conv2d(x, weight, bias, 1, k // 2 if padding is None else padding, 1, groups)

    def unit(
        self, x: Tensor, a: int, b: int, k: int, act: Callable = F.relu, groups: int = 1
    ) -> Tensor:
        x = self.conv(x, a, b, k, groups)
        weight = self.next(self.positive(b).requires_grad_())
        bias = self.next(self.normal(b).requires_grad_())
        mean, var = self.next(self.normal(b)), self.next(self.positive(b))
        count = self.next(torch.tensor(3))
        count += self.training
        return act(F.batch_norm(x, mean, var, weight, bias, self.training, 0.1, 1e-5))


def identity(x: Tensor) -> Tensor:
    return x


def bottleneck(p: Parameters, x: Tensor, a: int, b: int, last: Callable = F.relu) -> Tensor:
    narrow = b // 4
    y = p.unit(x, a, narrow, 1)
    y = p.unit(y, narrow, narrow, 3)
    y = p.unit(y, narrow, b, 1, identity)
    return last(y + (x if a == b else p.unit(x, a, b, 1)))


def inverted(p: Parameters, x: Tensor, a: int, b: int) -> Tensor:
    wide = a * 4
    y = p.unit(x, a, wide, 1)
    y = p.unit(y, wide, wide, 3)
    y = p.unit(y, wide, b, 1, identity)
    return F.relu(y + (x if a == b else p.unit(x, a, b, 1)))


def mobilenet_like(p: Parameters, x: Tensor, a: int, b: int) -> Tensor:
    wide = a * 4
    y = p.unit(x, a, wide, 1)
    y = p.unit(y, wide, wide, 3)
    y = p.unit(y, wide, b, 1, identity)
    return F.relu(y + x if a == b else y)


def separable(p: Parameters, x: Tensor, a: int, b: int) -> Tensor:
    return p.conv(p.conv(x, a, a, 3, groups=a, padding=0), a, b, 1)


def mbconv(p: Parameters, x: Tensor, a: int, b: int) -> Tensor:
    wide = a * 4
    y = p.unit(x, a, wide, 1, F.relu6)
    y = p.unit(y, wide, wide, 3, F.relu6, groups=wide)
    y = p.unit(y, wide, b, 1, identity)
    return F.relu(y + x if a == b else y)


def fused_mbconv(p: Parameters, x: Tensor, a: int, b: int) -> Tensor:
    wide = a * 4
    y = p.unit(x, a, wide, 3, F.relu6)
    y = p.unit(y, wide, b, 1, identity)
    return F.relu(y + x if a == b else y)


def residual_add(p: Parameters, x: Tensor, a: int, b: int) -> Tensor:
    y = p.unit(x, a, b, 3)
    return y + (x if a == b else p.unit(x, a, b, 1))


def make_residual_add(library, a: int, b: int, **make):
    block = library.Conv3X3BnReLU(a, b, **make)
    return library.ResidualAdd(block, None if a == b else library.Conv1X1BnReLU(a, b, **make))


def made_of(name: str, *more: int) -> Callable:
    return lambda library, a, b, **make: getattr(library, name)(a, b, *more, **make)


TUTORIAL = {  # the function, and how either library makes its module
    "ConvNormAct": (partial(Parameters.unit, k=5), made_of("ConvNormAct", 5)),
    "Conv1X1BnReLU": (partial(Parameters.unit, k=1), made_of("Conv1X1BnReLU")),
    "Conv3X3BnReLU": (partial(Parameters.unit, k=3), made_of("Conv3X3BnReLU")),
    "ResidualAdd": (residual_add, make_residual_add),
    "BottleNeck": (bottleneck, made_of("BottleNeck")),
    "LinearBottleNeck": (partial(bottleneck, last=identity), made_of("LinearBottleNeck")),
    "InvertedResidual": (inverted, made_of("InvertedResidual")),
    "MobileNetLikeBlock": (mobilenet_like, made_of("MobileNetLikeBlock")),
    "DepthWiseSeparableConv": (separable, made_of("DepthWiseSeparableConv")),
    "MBConv": (mbconv, made_of("MBConv")),
    "FusedMBConv": (fused_mbconv, made_of("FusedMBConv")),
}
WIDTHS = ((4, 8), (8, 8))


def flat_run(
    function: Callable, p: Parameters, names: list[str], x: np.ndarray, target: np.ndarray
):
    """Return what a training step and a call in eval mode after it make, as parity's runs do."""
    image = from_nhwc(x, torch.float64).requires_grad_()
    p.training, p.taken = True, 0
    y = function(p, image)
    half_mean_square(y, from_nhwc(target, y.dtype)).backward()
    p.training, p.taken = False, 0
    after = function(p, image)
    run = TorchRun(outputs={"": to_nhwc(y)}, gradients={"input": to_nhwc(present(image.grad))})
    for name, array in zip(names, p.arrays, strict=True):
        if array.requires_grad:
            run.gradients[name] = gradient_of(array)
        else:
            run.state[name] = array.numpy()
    return run, to_nhwc(after)


def assert_same_run(run, after: np.ndarray, truth: TorchRun, truth_after: np.ndarray) -> None:
    assert_same(run.outputs[""], truth.outputs[""])
    assert_same(after, truth_after)
    assert run.gradients.keys() == truth.gradients.keys()
    for name, value in truth.gradients.items():
        scale = measure.layer_scale(name, truth.gradients)
        assert measure.scaled_error(run.gradients[name], value, scale) <= bound(
            "float64", "gradient"
        ), name
    for name, value in truth.state.items():
        assert measure.scaled_error(run.state[name], value) <= bound("float64", "statistic"), name


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("name", TUTORIAL)
def test_computes_what_the_tutorial_prints(name: str, widths: tuple[int, int], x64):
    function, make = TUTORIAL[name]
    function = partial(function, a=widths[0], b=widths[1])
    x, p = image((*SIZE, widths[0])), Parameters()
    target = image(to_nhwc(function(p, from_nhwc(x, torch.float64))).shape, seed=1)
    theirs = make(torch_ref, *widths).double()
    ours = nnx.eval_shape(lambda: make(fb, *widths, param_dtype=jnp.float64, rngs=nnx.Rngs(0)))
    names = list(theirs.state_dict())
    weights = dict(zip(names, (array.detach().clone() for array in p.arrays), strict=True))
    theirs.load_state_dict(weights)
    fb.load_state_dict(ours, weights)

    truth = flat_run(function, p, names, x, target)

    goal, frame = {"": target}, Frame()
    run = torch_side.train_step(theirs, x, goal, "float64", frame)
    after = torch_side.forward(theirs, x, "float64", frame).outputs[""]
    assert_same_run(run, after, *truth)
    run = flax_side.train_step(ours, x, goal, "float64", training=True)
    fb.load_state_dict(ours, weights | run.state)
    assert_same_run(run, flax_side.forward(ours, x, "float64").outputs[""], *truth)
