# pyright: basic
"""The network: a stem, stages and a head."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.rngs import NetworkRngs
from flaxblocks.layers.scopes import Scoped, scoped
from flaxblocks.models.architecture import Architecture, StageRow
from flaxblocks.models.dilation import dilated
from flaxblocks.models.printing import describe
from flaxblocks.models.residual_scale import scale_residuals
from flaxblocks.models.stage import Stage
from flaxblocks.models.substitution import replace_activations, replace_norms
from flaxblocks.ops.activations import Activation


@dataclass(frozen=True)
class FeatureInfo:
    """The shape of a stage's feature map.

    Args:
        features: number of channels.
        stride: pixels of the image per pixel of the map.
    """

    features: int
    stride: int


class Backbone(Scoped):
    """A convolutional network, for classification or as a feature extractor.

    `create_model` makes one by name. `repr` is a summary; ``nnx.Module.__repr__(model)`` shows
    every variable, as `nnx.display` does in a notebook.

    >>> model = fb.create_model("resnet18", num_classes=10, rngs=nnx.Rngs(0))
    >>> [(stage.features, stage.stride) for stage in model.feature_info]
    [(64, 4), (128, 8), (256, 16), (512, 32)]
    >>> model.eval()
    >>> [map.shape for map in jax.eval_shape(model.features, jnp.ones((1, 64, 64, 3)))]
    [(1, 16, 16, 64), (1, 8, 8, 128), (1, 4, 4, 256), (1, 2, 2, 512)]
    >>> model
    resnet18: 11,181,642 parameters
      stem      Stem: 64 features, stride 4
      stages.0  2 x BasicBlock: 64 features, stride 4
      stages.1  2 x BasicBlock: 128 features, stride 8
      stages.2  2 x BasicBlock: 256 features, stride 16
      stages.3  2 x BasicBlock: 512 features, stride 32
      head      Head: 512 features, 10 classes

    Args:
        architecture: the network's description.
        num_classes: length of the output; 0 for the pooled features; the architecture's own where
            absent.
        in_features: channels of the image.
        drop_rate: probability of dropping each pooled feature in training, in auxiliary heads too;
            the architecture's own where absent.
        drop_path_rate: probability of dropping the last blocks' residual branches in training,
            less for earlier ones; the architecture's own where absent.
        output_stride: pixels of the image per pixel of the last feature map, 8, 16 or 32: stages
            that would exceed it are dilated instead; the architecture's own where absent.
        norm: makes each normalization in place of the architecture's: ``norm(features, dtype=,
            param_dtype=, rngs=)``, such as `nnx.GroupNorm`.
        act: activation in place of the architecture's, everywhere but within gates.
        dtype: dtype of the computation; inferred from input and parameters where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Attributes:
        feature_info: channels and stride of each entry of `features`.
        num_features: length of the pooled features.
        in_features: channels of the image.
        auxiliary: classifiers of middle stages, see `forward_auxiliary`; none in most networks.
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
        num_classes: int | None = None,
        in_features: int = 3,
        drop_rate: float | None = None,
        drop_path_rate: float | None = None,
        output_stride: int | None = None,
        norm: ModuleFactory | None = None,
        act: Activation | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        rngs = NetworkRngs(rngs, architecture.initialization)
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        drop_paths = architecture.drop_paths(drop_path_rate)
        self.stem = architecture.stem(in_features, **make)
        rows, classes = architecture.stages, num_classes
        if classes is None:
            classes = architecture.num_classes
        if output_stride is None:
            output_stride = architecture.output_stride
        if output_stride is not None:
            rows = dilated(rows, self.stem.stride, output_stride)
        widths = pairwise([self.stem.out_features, *(row.features for row in rows)])
        self.stages = nnx.List(
            Stage(row, width, drop_paths=stage_rates, **make)
            for row, (width, _), stage_rates in zip(rows, widths, drop_paths, strict=True)
        )
        rate = architecture.drop_rate if drop_rate is None else drop_rate
        self.head = architecture.head(rows[-1].features, classes, drop_rate=rate, **make)
        rates = {} if drop_rate is None else {"drop_rate": drop_rate}
        others = architecture.auxiliary
        self.auxiliary_stages = tuple(stage for stage, _ in others)
        self.auxiliary = nnx.List(
            head(rows[stage].features, classes, **rates, **make) for stage, head in others
        )
        self.feature_info = _feature_info(self.stem.stride, rows)
        self.num_features = self.head.pooled_features
        self.in_features = in_features
        self.initialization = architecture.initialization
        self.rematerialization = False
        self.name: str | None = None
        self.family = architecture.family
        if norm is not None:
            replace_norms(self, checks.function("norm", norm), **make)
        if act is not None:
            replace_activations(self, checks.function("act", act))
        if architecture.initialization.residual_scale is not None:
            scale_residuals(self, architecture.initialization.residual_scale, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
        """Classify images.

        Args:
            x: images of shape ``(n, h, w, in_features)``.

        Returns:
            Logits of shape ``(n, num_classes)``, or the pooled features of shape
            ``(n, num_features)`` where `num_classes` is 0.
        """
        return self.forward_head(self.forward_features(x))

    @scoped
    def features(
        self, x: Float[Array, "n h w c"], *, indices: Sequence[int] | None = None
    ) -> list[jax.Array]:
        """Return the feature maps of the stages.

        Args:
            x: images of shape ``(n, h, w, in_features)``.
            indices: which stages' maps, counted from the end where negative; all where absent.
                Stages after the last of them are not computed.

        Returns:
            One array for each index, described by that entry of `feature_info`: of shape
            ``(n, p, q, features)`` with `p` and `q` about ``h / stride`` and ``w / stride``.

        Raises:
            TypeError: if an index is not an integer.
            ValueError: if there is no such stage.
        """
        wanted = range(len(self.stages)) if indices is None else self._stage_indices(indices)
        x = self.stem(x)
        maps = []
        for stage in self.stages[: max(wanted, default=-1) + 1]:
            x = stage.rematerialized(x) if self.rematerialization else stage(x)
            maps.append(x)
        return [maps[index] for index in wanted]

    def _stage_indices(self, indices: Sequence[int]) -> list[int]:
        """Return the indices counted from the start."""
        count = len(self.stages)
        for index in indices:
            if isinstance(index, bool) or not isinstance(index, int):
                raise TypeError(f"`indices` must be integers, got {index!r}")
            if not -count <= index < count:
                raise ValueError(f"`indices` must lie in {-count} to {count - 1}, got {index}")
        return [index % count for index in indices]

    def forward_features(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Return the last stage's feature map.

        Args:
            x: images of shape ``(n, h, w, in_features)``.

        Returns:
            An array of shape ``(n, p, q, features)``, see the last entry of `feature_info`.
        """
        return self.features(x, indices=(-1,))[0]

    @scoped
    def forward_head(
        self, x: Float[Array, "n p q d"], *, pre_logits: bool = False
    ) -> Float[Array, "n k"]:
        """Classify a feature map.

        Args:
            x: what `forward_features` returns.
            pre_logits: whether to stop before the classifier and its dropout.

        Returns:
            What calling the network returns, or pooled features of shape ``(n, num_features)``.
        """
        return self.head(x, pre_logits=True) if pre_logits else self.head(x)

    def forward_auxiliary(
        self, x: Float[Array, "n h w c"]
    ) -> tuple[Float[Array, "n k"], list[jax.Array]]:
        """Classify images by the network's own head and by its auxiliary ones, for training.

        Args:
            x: images of shape ``(n, h, w, in_features)``.

        Returns:
            What calling the network returns, and the logits of each of `auxiliary`.
        """
        maps = self.features(x)
        others = zip(self.auxiliary, self.auxiliary_stages, strict=True)
        return self.forward_head(maps[-1]), [head(maps[stage]) for head, stage in others]

    @property
    def num_classes(self) -> int:
        """Length of the output; 0 where the network has no classifier."""
        return 0 if self.head.classifier is None else self.head.classifier.out_features

    def reset_classifier(self, num_classes: int, *, rngs: nnx.Rngs) -> None:
        """Replace the classifier by a new one, drawn as the network's own was.

        Args:
            num_classes: length of the output; 0 for the pooled features.
            rngs: random streams; ``params`` and ``dropout`` are drawn from.

        Raises:
            TypeError: if `num_classes` is not an integer.
            ValueError: if it is negative.
        """
        training = _trains(self)
        rngs = NetworkRngs(rngs, self.initialization)
        for head in (self.head, *self.auxiliary):
            head.reset_classifier(num_classes, rngs=rngs)
            head.set_attributes(deterministic=not training, raise_if_not_found=False)

    def set_rematerialization(self, enabled: bool = True) -> None:
        """Choose whether the backward pass recomputes activations instead of storing them.

        Only the feature maps between the stages stay in memory for the gradient. On CPU XLA merges
        the two computations again unless it is told not to, as `make_train_step` does.

        Args:
            enabled: whether to recompute.
        """
        self.rematerialization = enabled

    def __repr__(self) -> str:
        return describe(self)

    __str__ = __repr__


def _trains(module: nnx.Module) -> bool:
    """Return whether a part of the module is in train mode."""
    switches = ("use_running_average", "deterministic")
    return any(not getattr(m, s, True) for _, m in nnx.iter_modules(module) for s in switches)


def _feature_info(stride: int, rows: Sequence[StageRow]) -> tuple[FeatureInfo, ...]:
    info = []
    for row in rows:
        stride *= row.stride
        info.append(FeatureInfo(row.features, stride))
    return tuple(info)
