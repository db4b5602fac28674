"""The convolution: PyTorch's padding and initialization, TensorFlow's padding where asked."""

from functools import partial
from inspect import signature
from math import ceil, sqrt

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import flaxblocks as fb
from flaxblocks import ops
from tests.helpers.tolerance import bound
from tests.helpers.twins import assert_same, image
from torch_ref.harness.layout import from_nhwc

pytestmark = pytest.mark.usefixtures("quick")

GEOMETRIES = [
    pytest.param(size, arguments, id="-".join(f"{k}{v}" for k, v in arguments.items()) + f"-{size}")
    for size in (9, 10)
    for arguments in (
        {"kernel_size": 1},
        {"kernel_size": 3},
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 4, "stride": 2},
        {"kernel_size": 5, "stride": 3},
        {"kernel_size": 3, "dilation": 2},
        {"kernel_size": 4, "dilation": 3},
        {"kernel_size": (3, 5), "stride": (1, 2), "dilation": (2, 1)},
        {"kernel_size": 3, "padding": 0},
        {"kernel_size": 3, "padding": (2, 1), "stride": 2},
    )
]


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    height, width = value if isinstance(value, tuple) else (value, value)
    return height, width


def torch_conv(conv: fb.Conv, padding, stride=1, dilation=1, groups=1, **_) -> torch.nn.Conv2d:
    """Return PyTorch's own layer with the same weights, independent of torch_ref."""
    twin = torch.nn.Conv2d(
        conv.in_features,
        conv.out_features,
        pair(conv.kernel_size),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    ).double()
    twin.load_state_dict({k: torch.from_numpy(v) for k, v in fb.state_dict(conv).items()})
    return twin


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("size,arguments", GEOMETRIES)
def test_equals_pytorch(size: int, arguments: dict, groups: int, x64):
    conv = fb.Conv(4, 8, **arguments, groups=groups, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    kernel, dilation = pair(arguments["kernel_size"]), pair(arguments.get("dilation", 1))
    padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    twin = torch_conv(conv, groups=groups, **{"padding": padding, **arguments})
    x = image((2, size, size, 4))

    truth = twin(from_nhwc(x))

    assert_same(conv(jnp.asarray(x)), truth.detach().numpy().transpose(0, 2, 3, 1))


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_is_tensorflows_rule(size: int, kernel: int, stride: int, x64):
    """It pads what is needed for ceil(size / stride) outputs, the odd pixel at the end."""
    conv = fb.Conv(
        2, 3, kernel, stride=stride, padding="SAME", param_dtype=jnp.float64, rngs=nnx.Rngs(0)
    )
    x = image((1, size, size, 2))
    total = max((ceil(size / stride) - 1) * stride + kernel - size, 0)
    sides = (total // 2, total - total // 2)
    padded = np.pad(x, ((0, 0), sides, sides, (0, 0)))

    truth = torch_conv(conv, padding=0, stride=stride)(from_nhwc(padded))

    assert_same(conv(jnp.asarray(x)), truth.detach().numpy().transpose(0, 2, 3, 1))


def test_same_differs_from_the_default_at_stride_2():
    make = partial(fb.Conv, 2, 3, 3, stride=2, rngs=nnx.Rngs(0))
    x = jnp.asarray(image((1, 8, 8, 2)), jnp.float32)
    ours, same = make(), make(padding="SAME")
    fb.load_state_dict(same, fb.state_dict(ours))
    assert ours(x).shape == same(x).shape
    assert not np.allclose(ours(x), same(x))


def test_valid_pads_nothing():
    conv = fb.Conv(2, 3, 3, padding="VALID", rngs=nnx.Rngs(0))
    assert conv(jnp.ones((1, 9, 7, 2))).shape == (1, 7, 5, 3)


@pytest.mark.parametrize("groups", [1, 8])
def test_is_initialized_as_in_pytorch(groups: int):
    """Uniform over +-1 / sqrt(fan_in): bounds, mean and variance, as PyTorch's own draw."""
    arguments = (32, 256, 3)
    fan_in = 32 // groups * 9
    limit, errors = 1 / sqrt(fan_in), bound("any", "statistic of a sample")
    ours = fb.state_dict(fb.Conv(*arguments, groups=groups, rngs=nnx.Rngs(0)))
    torch.manual_seed(0)
    theirs = {
        name: value.numpy()
        for name, value in torch.nn.Conv2d(*arguments, groups=groups).state_dict().items()
    }
    for draw in (ours, theirs):
        for values in draw.values():
            spread = values.astype(np.float64) / limit
            assert np.abs(spread).max() <= 1
            assert np.abs(spread).max() > 0.95
            # The variance of a uniform draw over +-1 is 1/3, that of its square 4/45.
            assert abs(spread.mean()) <= errors * sqrt(1 / 3 / spread.size)
            assert abs((spread**2).mean() - 1 / 3) <= errors * sqrt(4 / 45 / spread.size)


def test_draws_anew_for_each_layer_and_again_for_the_same_seed():
    rngs = nnx.Rngs(0)
    first, second = (fb.Conv(3, 4, 3, rngs=rngs).kernel[...] for _ in range(2))
    again = fb.Conv(3, 4, 3, rngs=nnx.Rngs(0)).kernel[...]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)


def test_takes_other_initializers():
    conv = fb.Conv(
        2,
        3,
        1,
        kernel_init=nnx.initializers.ones,
        bias_init=nnx.initializers.zeros,
        rngs=nnx.Rngs(0),
    )
    np.testing.assert_array_equal(conv(jnp.ones((1, 1, 1, 2))), np.full((1, 1, 1, 3), 2.0))


def test_goes_through_the_one_door():
    assert fb.Conv(3, 4, 3, rngs=nnx.Rngs(0)).conv_general_dilated is ops.conv_general_dilated


def test_the_door_has_the_signature_of_jax():
    ours = dict(signature(ops.conv_general_dilated).parameters)
    theirs = signature(jax.lax.conv_general_dilated).parameters
    assert [(p.name, p.default, p.kind) for p in ours.values()] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": "SAME"},
        {"padding": "SAME_LOWER", "window_strides": (2, 2)},
        {"lhs_dilation": (2, 1)},
        {"rhs_dilation": (1, 2)},
        {"feature_group_count": 2, "kernel": (6, 2, 3, 3)},
        {"batch_group_count": 2},
        {"preferred_element_type": jnp.float32, "dtype": jnp.bfloat16},
        {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "kernel": (3, 3, 8, 6)},
        {"precision": jax.lax.Precision.HIGHEST},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_the_door_gives_what_jax_gives(arguments: dict):
    defaults = {"window_strides": (1, 1), "padding": ((1, 1), (0, 1))}
    given = defaults | arguments
    dtype, kernel = given.pop("dtype", jnp.float32), given.pop("kernel", (6, 4, 3, 3))
    x = jnp.asarray(image((4, 4, 7, 8)), dtype)
    w = jnp.asarray(image(kernel, seed=1), dtype)
    ours = ops.conv_general_dilated(x, w, **given)
    theirs = jax.lax.conv_general_dilated(x, w, **given)
    assert ours.dtype == theirs.dtype
    scale = float(jnp.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound("float32", "output") * scale)
