"""What every network has in common: a stem, stages and a head."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks import BasicBlock, BottleNeck
from flaxblocks.layers.initializers import Initializer
from flaxblocks.layers.optional import apply
from flaxblocks.layers.rngs import NetworkRngs
from flaxblocks.models.architecture import Architecture, StageRow


@dataclass(frozen=True)
class FeatureInfo:
    """What a stage's feature map will be, known before anything runs.

    Args:
        features: its channels.
        stride: pixels of the image per pixel of the map.
    """

    features: int
    stride: int


class Stage(nnx.Module):
    """A stage of a network: its blocks, one after the other.

    Args:
        row: the stage's description.
        in_features: channels of the input.
        drop_paths: the drop path rate of each block.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.
    """

    def __init__(
        self,
        row: StageRow,
        in_features: int,
        *,
        drop_paths: Sequence[float],
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        width, stride = in_features, row.stride
        if row.downsample is None:
            self.downsample = None
        else:
            self.downsample = row.downsample(width, row.features, stride=stride, **make)
            width, stride = row.features, 1
        self.blocks = nnx.List()
        widths = row.widths or (row.features,) * len(row.blocks)
        for block, next_width, rate in zip(row.blocks, widths, drop_paths, strict=True):
            self.blocks.append(block(width, next_width, stride=stride, drop_path=rate, **make))
            width, stride = next_width, 1

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the blocks.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            The stage's feature map, of shape ``(n, p, q, row.features)``.
        """
        x = apply(self.downsample, x)
        for block in self.blocks:
            x = block(x)
        return x


class Backbone(nnx.Module):
    """A convolutional network, for classification or as the trunk of something else.

    `create_model` makes one by name.

    >>> model = fb.create_model("resnet18", num_classes=10, rngs=nnx.Rngs(0))
    >>> [(stage.features, stage.stride) for stage in model.feature_info]
    [(64, 4), (128, 8), (256, 16), (512, 32)]
    >>> model.eval()
    >>> [map.shape for map in jax.eval_shape(model.features, jnp.ones((1, 64, 64, 3)))]
    [(1, 16, 16, 64), (1, 8, 8, 128), (1, 4, 4, 256), (1, 2, 2, 512)]

    Args:
        architecture: the network's description.
        num_classes: length of the output; 0 for the pooled features.
        in_features: channels of the image.
        drop_rate: probability of dropping each pooled feature in training; the architecture's
            own where absent.
        drop_path_rate: probability of dropping the last blocks' residual branches in training,
            less for earlier ones; the architecture's own where absent.
        dtype: dtype of the computation; inferred from input and parameters where absent.
        param_dtype: dtype of the parameters.
        remat: whether training keeps only the feature maps between the stages in memory and
            computes the rest a second time for the gradient. On CPU XLA undoes that, unless it
            is told not to, as `make_train_step` does.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Attributes:
        feature_info: what each entry of `features` will be.
        num_features: length of the pooled features.
        name: what `create_model` calls the network; None for one made without it.
        family: the architecture's.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        num_classes: int = 1000,
        in_features: int = 3,
        drop_rate: float | None = None,
        drop_path_rate: float | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        rngs = NetworkRngs(rngs, architecture.initialization)
        make = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        rows = architecture.stages
        rates = _block_rates(architecture, drop_path_rate)
        self.stem = architecture.stem(in_features, **make)
        widths = pairwise([self.stem.out_features, *(row.features for row in rows)])
        self.stages = nnx.List(
            Stage(row, width, drop_paths=stage_rates, **make)
            for row, (width, _), stage_rates in zip(rows, widths, rates, strict=True)
        )
        rate = architecture.drop_rate if drop_rate is None else drop_rate
        self.head = architecture.head(rows[-1].features, num_classes, drop_rate=rate, **make)
        self.feature_info = _feature_info(self.stem.stride, rows)
        self.num_features = self.head.pooled_features
        self.remat = remat
        self.name: str | None = None
        self.family = architecture.family
        if architecture.initialization.residual_scale is not None:
            _scale_residuals(self, architecture.initialization.residual_scale, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
        """Classify images.

        Args:
            x: images of shape ``(n, h, w, in_features)``.

        Returns:
            Logits of shape ``(n, num_classes)``, or the pooled features of shape
            ``(n, num_features)`` where `num_classes` is 0.
        """
        return self.head(self.features(x)[-1])

    def features(self, x: Float[Array, "n h w c"]) -> list[jax.Array]:
        """Return the feature map of each stage.

        Args:
            x: images of shape ``(n, h, w, in_features)``.

        Returns:
            One array for each entry of `feature_info`, of shape ``(n, p, q, features)`` with `p`
            and `q` about ``h / stride`` and ``w / stride``.
        """
        x = self.stem(x)
        run = _rematerialise if self.remat else _call
        maps = []
        for stage in self.stages:
            x = run(stage, x)
            maps.append(x)
        return maps


def _call(stage: Stage, x: jax.Array) -> jax.Array:
    return stage(x)


def _rematerialise(stage: Stage, x: jax.Array) -> jax.Array:
    """Call the stage so that its gradient computes it again instead of keeping it in memory.

    Unlike `nnx.remat` it writes back only what the call changed, so that a network in eval mode
    stays a pure function, which plain `jax` transformations may close over.
    """
    graphdef, state = nnx.split(stage)

    @jax.checkpoint
    def run(state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        copy = nnx.merge(graphdef, state, copy=True)
        y = copy(x)
        before = dict(nnx.to_flat_state(state))
        after = nnx.to_flat_state(nnx.state(copy))
        return y, nnx.from_flat_state(
            [(path, new) for path, new in after if new.get_value() is not before[path].get_value()]
        )

    y, changed = run(state, x)
    nnx.update(stage, changed)
    return y


def _scale_residuals(model: nnx.Module, init: Initializer, rngs: nnx.Rngs) -> None:
    """Redraw the scale of the last normalization of each residual branch."""
    for _, block in nnx.iter_modules(model):
        if isinstance(block, BasicBlock | BottleNeck):
            last = block.second if isinstance(block, BasicBlock) else block.expand
            scale = getattr(last.norm, "scale", None)
            if scale is not None:
                scale.set_value(init(rngs.params(), scale.shape, scale.dtype))


def _block_rates(architecture: Architecture, rate: float | None) -> list[Sequence[float]]:
    """Return the drop path rate of each block of each stage."""
    rate = architecture.drop_path_rate if rate is None else rate
    depths = [len(row.blocks) for row in architecture.stages]
    rates = architecture.drop_path_ramp(checks.fraction("drop_path_rate", rate), sum(depths))
    ends = [sum(depths[: stage + 1]) for stage in range(len(depths))]
    return [rates[end - depth : end] for depth, end in zip(depths, ends, strict=True)]


def _feature_info(stride: int, rows: Sequence[StageRow]) -> tuple[FeatureInfo, ...]:
    info = []
    for row in rows:
        stride *= row.stride
        info.append(FeatureInfo(row.features, stride))
    return tuple(info)
