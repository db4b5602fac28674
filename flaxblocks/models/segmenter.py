# pyright: basic
"""Networks that classify every pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Float

from flaxblocks.layers.scopes import scoped
from flaxblocks.models.architecture import Architecture
from flaxblocks.models.backbone import Backbone
from flaxblocks.ops.resize import bilinear_resize


@dataclass(frozen=True)
class Segmentation(Architecture):
    """A network that classifies every pixel, which `create_model` makes a `Segmenter` of.

    Its head takes the maps of the stages that it reads; auxiliary heads take one each.

    Args:
        head_stages: the stages whose maps the head reads, in order.
    """

    task: ClassVar[str] = "segmentation"

    head_stages: tuple[int, ...] = (-1,)


class Segmenter(Backbone):
    """A convolutional network that classifies every pixel of an image.

    It is a `Backbone` with other heads: what a `Backbone` does to images, such as `features`, it
    does, too.

    >>> model = fb.create_model("lraspp_mobilenet_v3_large", rngs=nnx.Rngs(0))
    >>> model.eval()
    >>> logits = jax.eval_shape(model, jnp.ones((1, 64, 96, 3)))
    >>> {name: array.shape for name, array in logits.items()}
    {'out': (1, 64, 96, 21)}

    The arguments and attributes are `Backbone`'s, the architecture a `Segmentation`.
    """

    def __init__(self, architecture: Segmentation, **arguments: Any):
        super().__init__(architecture, **arguments)
        self.head_stages = architecture.head_stages

    def __call__(self, x: Float[Array, "n h w c"]) -> dict[str, jax.Array]:
        """Classify each pixel.

        Args:
            x: images of shape ``(n, h, w, in_features)``.

        Returns:
            Logits of shape ``(n, h, w, num_classes)`` by the names that torchvision gives them:
            ``"out"`` of the head and, in networks with an auxiliary one, ``"aux"`` of that, for
            the loss in training. A compiled function that returns ``"out"`` alone does not compute
            the other.
        """
        logits = self.forward_head(self.forward_features(x))
        return {name: bilinear_resize(y, x.shape[1:3]) for name, y in logits.items()}

    def forward_features(self, x: Float[Array, "n h w c"]) -> list[jax.Array]:
        """Return the feature map of each stage, as `features` does.

        Args:
            x: images of shape ``(n, h, w, in_features)``.
        """
        return self.features(x)

    @scoped
    def forward_head(
        self, maps: Sequence[jax.Array], *, pre_logits: bool = False
    ) -> dict[str, jax.Array]:
        """Classify each pixel of the feature maps.

        Args:
            maps: what `forward_features` returns.
            pre_logits: whether to stop before the classifiers and their dropout.

        Returns:
            What calling the network returns, in the resolution of the maps.
        """
        read = [maps[stage] for stage in self.head_stages]
        result = {"out": self.head(*read, pre_logits=pre_logits)}
        for stage, head in zip(self.auxiliary_stages, self.auxiliary, strict=True):
            result["aux"] = head(maps[stage], pre_logits=pre_logits)
        return result

    def forward_auxiliary(
        self, x: Float[Array, "n h w c"]
    ) -> tuple[Float[Array, "n h w d"], list[jax.Array]]:
        """Classify each pixel by the network's own head and by its auxiliary one, for training.

        Args:
            x: images of shape ``(n, h, w, in_features)``.

        Returns:
            The two values of the mapping that calling the network returns, the second in a list.
        """
        logits = self(x)
        return logits.pop("out"), list(logits.values())
