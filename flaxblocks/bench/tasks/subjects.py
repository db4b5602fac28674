"""What can be timed, by name: blocks and convolutions at published shapes, and every network."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import flaxblocks as fb
from flaxblocks._base import command_line
from flaxblocks._base.module_spec import Factory, Function, Spec


@dataclass(frozen=True)
class Subject:
    """A module that can be timed."""

    name: str  # what the command line calls it
    features: int  # channels of its input
    size: int  # height and width of its input in pixels, where nothing else is asked for
    spec: Spec | None = None  # how it is built; None for a network, which `create_model` makes

    @property
    def is_network(self) -> bool:
        """Whether it is a whole network, the input of which needs no gradient."""
        return self.spec is None

    @property
    def names(self) -> str:
        """Whose parameter names PyTorch's counterpart uses."""
        return fb.model_info(self.name).source if self.is_network else "native"

    @property
    def modes(self) -> tuple[str, ...]:
        """What can be done with it, see `Task`."""
        if self.is_network:
            return ("infer", "train", "step")
        single = self.name.startswith("Conv/")
        return ("infer", "train", "input", "kernel") if single else ("infer", "train")

    def abstract(self, dtype: str | None = None) -> nnx.Module:
        """Return flaxblocks' module without its arrays, with nothing dropped at random.

        Args:
            dtype: of a network's computation; that of its parameters and input where absent.
        """
        return nnx.eval_shape(partial(self._flax, None if dtype is None else jnp.dtype(dtype)))

    def _flax(self, dtype: jnp.dtype | None) -> nnx.Module:
        rngs = nnx.Rngs(0)
        if self.spec is None:
            return fb.create_model(self.name, drop_rate=0, drop_path_rate=0, dtype=dtype, rngs=rngs)
        return self.spec.build(fb, rngs=rngs)

    def input(self, batch: int, size: int) -> jax.ShapeDtypeStruct:
        """Return its input, the values unknown."""
        return jax.ShapeDtypeStruct((batch, size, size, self.features), jnp.float32)


def _convolution(
    width: int, kernel: int, groups: int, out: int | None = None, stride: int = 1
) -> Spec:
    arguments = {"groups": groups, "stride": stride, "use_bias": False}
    return Spec("Conv", (width, out or width, kernel), arguments)


def _efficientnet(width: int, kernel: int) -> Spec:
    silu = Function("silu")
    gate = Factory("SqueezeExcite", kwargs={"squeeze_features": width // 4, "act": silu})
    return _mbconv(width, kernel_size=kernel, act=silu, se=gate)


def _mbconv(width: int, **arguments: Any) -> Spec:
    published = {"use_bias": False, "final_act": None}
    return Spec("MBConv", (width, width, 6), published | arguments)


def _fused_mbconv(width: int) -> Spec:
    published = {"use_bias": False, "act": Function("silu"), "final_act": None}
    return Spec("FusedMBConv", (width, width, 4), published)


def _bottleneck(width: int, reduction: int = 4, groups: int = 1) -> Spec:
    return Spec("BottleNeck", (width, width, reduction), {"groups": groups, "use_bias": False})


_resnext = partial(_bottleneck, reduction=2, groups=32)

BLOCKS: tuple[Subject, ...] = (
    Subject("Conv/depthwise3x3-56", 144, 56, _convolution(144, 3, 144)),
    Subject("Conv/depthwise5x5-28", 192, 28, _convolution(192, 5, 192)),
    Subject("Conv/depthwise5x5-14", 672, 14, _convolution(672, 5, 672)),
    Subject("Conv/dense3x3-56", 64, 56, _convolution(64, 3, 1)),
    Subject("Conv/dense3x3-28", 128, 28, _convolution(128, 3, 1)),
    Subject("Conv/dense3x3-14", 256, 14, _convolution(256, 3, 1)),
    Subject("Conv/pointwise-56", 64, 56, _convolution(64, 1, 1, 256)),
    Subject("Conv/grouped3x3-56", 128, 56, _convolution(128, 3, 32)),
    Subject("Conv/grouped3x3-28", 256, 28, _convolution(256, 3, 32)),
    Subject("Conv/grouped3x3-14", 512, 14, _convolution(512, 3, 32)),
    Subject("Conv/regnet3x3-28", 384, 28, _convolution(384, 3, 16)),
    Subject("Conv/strided3x3-112", 96, 112, _convolution(96, 3, 96, stride=2)),
    Subject("Conv/depthwise7x7-28", 192, 28, _convolution(192, 7, 192)),
    Subject("Conv/stem7x7-224", 3, 224, _convolution(3, 7, 1, 64, stride=2)),
    # Tan and Le 2019, table 1
    Subject("MBConv/efficientnet-56", 24, 56, _efficientnet(24, 3)),
    Subject("MBConv/efficientnet-28", 40, 28, _efficientnet(40, 5)),
    Subject("MBConv/efficientnet-14", 112, 14, _efficientnet(112, 5)),
    Subject("MBConv/efficientnet-7", 192, 7, _efficientnet(192, 5)),
    # Tan and Le 2021, table 4
    Subject("FusedMBConv/efficientnet_v2-28", 48, 28, _fused_mbconv(48)),
    # Sandler et al. 2018, table 2
    Subject("MBConv/mobilenet_v2-56", 24, 56, _mbconv(24)),
    Subject("MBConv/mobilenet_v2-28", 32, 28, _mbconv(32)),
    Subject("MBConv/mobilenet_v2-14", 64, 14, _mbconv(64)),
    # He et al. 2016, table 1
    Subject("BottleNeck/resnet50-56", 256, 56, _bottleneck(256)),
    Subject("BottleNeck/resnet50-28", 512, 28, _bottleneck(512)),
    Subject("BottleNeck/resnet50-14", 1024, 14, _bottleneck(1024)),
    Subject("BottleNeck/resnet50-7", 2048, 7, _bottleneck(2048)),
    # Xie et al. 2017, table 1
    Subject("BottleNeck/resnext50-56", 256, 56, _resnext(256)),
    Subject("BottleNeck/resnext50-28", 512, 28, _resnext(512)),
    Subject("BottleNeck/resnext50-14", 1024, 14, _resnext(1024)),
    Subject("BottleNeck/resnext50-7", 2048, 7, _resnext(2048)),
)
"""Convolutions and blocks at the shapes that published networks have at 224 pixels."""


def subject(name: str) -> Subject:
    """Return what a name stands for."""
    (found,) = matching([name])
    return found


def matching(patterns: Sequence[str]) -> list[Subject]:
    """Return what the patterns stand for, each once, in their order.

    >>> [subject.name for subject in matching(["Conv/depthwise*", "resnet1?"])][3:]
    ['Conv/depthwise7x7-28', 'resnet18']

    Args:
        patterns: names, or shell-style patterns of names.

    Raises:
        ValueError: if a pattern matches nothing; it offers the nearest names.
    """
    blocks = {block.name: block for block in BLOCKS}
    names = command_line.matching(
        patterns,
        [*blocks, *fb.list_models(task="classification")],
        "names",
        "block or classifying network",
    )
    return [blocks.get(name) or Subject(name, 3, fb.create_preprocess(name).crop) for name in names]
