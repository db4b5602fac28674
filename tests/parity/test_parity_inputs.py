"""An input that a side cannot be called with is refused in one sentence that says what it needs."""

from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from torch import nn

import flaxblocks as fb
from parity import compare, find_names

pytestmark = pytest.mark.usefixtures("quick")


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def image_net():
    layers = OrderedDict[str, nn.Module](
        conv=nn.Conv2d(3, 4, 3, padding=1), flat=nn.Flatten(), fc=nn.Linear(4 * 8 * 8, 5)
    )
    return nn.Sequential(layers)


class ImagePort(nnx.Module):
    """The same."""

    def __init__(self):
        self.conv = fb.Conv(3, 4, 3, rngs=nnx.Rngs(0))
        self.fc = nnx.Linear(4 * 8 * 8, 5, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.fc(jnp.moveaxis(self.conv(x), -1, 1).reshape(len(x), -1))


class Signal(nn.Module):
    """A convolution over a signal, under a name."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 4, 3)

    def forward(self, x):
        return self.conv(x)


class Tokens(nn.Module):
    """An embedding, under a name."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)

    def forward(self, tokens):
        return self.embed(tokens)


def message(torch_module, x, jax_module=None, refuse=compare):
    with pytest.raises(ValueError) as error:
        refuse(torch_module, ImagePort() if jax_module is None else jax_module, x)
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("module", "x", "text"),
    [
        (
            image_net(),
            normal(2, 8, 8, 4),
            "conv (Conv2d) takes 3 channels, got 4; `x` is float32 of shape (2, 8, 8, 4)",
        ),
        (
            image_net(),
            np.ones((2, 8, 8, 3), int),
            "conv (Conv2d) takes floating point numbers, got int64; `x` is int32 of shape",
        ),
        (
            image_net(),
            normal(2, 6, 8, 3),
            "fc (Linear) takes 256 features, got 192 in an array of shape (2, 192); `x` is",
        ),
        (Signal(), normal(2, 9, 4), "conv (Conv1d) takes 3 channels, got 9; `x` is float32 of"),
        (Signal(), normal(2, 1, 3, 9), "conv (Conv1d) takes 3 axes, got 4; `x` is float32"),
        (Tokens(), normal(2, 5), "embed (Embedding) takes integers, got float32; `x` is"),
        (Tokens(), np.array([[1, 9]]), "embed (Embedding) takes integers below 7, got 9; `x` is"),
        (nn.LSTM(4, 5), normal(2, 5, 3), "it says: input.size(-1) must be equal to input_size."),
        (lambda x, mask: x * mask, normal(2, 5), "missing 1 required positional argument: 'mask'"),
    ],
    ids=[
        *("channels", "integers", "size", "signal's channels", "axes", "floats", "out of range"),
        *("another layer", "function"),
    ],
)
@pytest.mark.parametrize("refuse", [compare, find_names])
def test_what_pytorch_cannot_take_is_named(module, x, text, refuse):
    found = message(module, x, refuse=refuse)
    assert found.startswith("`x` does not fit `torch_module`: ")
    assert text in found


def test_the_second_input_is_checked_too():
    text = message(image_net(), [normal(2, 8, 8, 3), normal(2, 8, 8, 4)])
    assert "conv (Conv2d) takes 3 channels, got 4" in text


def test_an_image_whose_channels_come_first_is_still_named_so():
    text = message(image_net(), normal(2, 3, 8, 8))
    assert "axis 1, of size 3, looks like the channels (NCHW)" in text


def test_an_exported_program_says_what_it_is_given():
    exported = torch.export.export(image_net(), (torch.ones(2, 3, 8, 8),))
    text = message(exported, normal(2, 8, 8, 4))
    assert text.startswith("`x` does not fit `torch_module`: it says: ")
    assert text.endswith("; `x` is float32 of shape (2, 8, 8, 4)")


class OtherPort(nnx.Module):
    """A port that takes another image."""

    def __init__(self):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0))
        self.fc = nnx.Linear(4 * 8 * 8, 5, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.fc(self.conv(x).reshape(len(x), -1)[:, :-1])


class LinenPort(linen.Module):
    """A port that takes another image, in Linen."""

    @linen.compact
    def __call__(self, x):
        return linen.Dense(5, name="fc")(linen.Conv(4, (3, 3), name="conv")(x).reshape(3, 99))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_script_is_checked_before_it_is_converted():
    text = message(torch.jit.script(image_net()), normal(2, 8, 8, 4))
    assert text.startswith("`x` does not fit `torch_module`: it says: ")


@pytest.mark.parametrize("jax_module", [OtherPort(), LinenPort()])
@pytest.mark.parametrize("refuse", [compare, find_names])
def test_what_jax_cannot_take_is_said_of_jax(jax_module, refuse):
    text = message(image_net(), normal(2, 8, 8, 3), jax_module, refuse)
    start = "`jax_module` cannot be called with `x`, float32 of shape (2, 8, 8, 3): "
    assert text.startswith(start)
    assert len(text) > len(start)


def test_the_modules_stay_as_they_are():
    module = image_net().train()
    compare(module, ImagePort(), normal(2, 8, 8, 3), checks=("names",))
    assert module.training
    assert not any(part._forward_pre_hooks for part in module.modules())
