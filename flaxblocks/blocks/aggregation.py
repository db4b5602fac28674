"""Deep layer aggregation: blocks as the leaves of a tree whose nodes mix them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import add_branches, projection
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops import max_pool
from flaxblocks.ops.activations import Activation, relu


def shrink(stride: int) -> Activation | None:
    """Return what takes the largest pixel of each square of that side; None for a side of 1."""
    if stride == 1:
        return None
    return partial(max_pool, kernel_size=stride, stride=stride, padding=0)


class MaxPooledShortcut(Scoped):
    """A shortcut that takes the largest of each square of pixels, and projects it where needed.

    >>> shortcut = MaxPooledShortcut(8, 8, stride=2, rngs=nnx.Rngs(0))
    >>> shortcut(jnp.ones((1, 8, 8, 8))).shape, shortcut.project
    ((1, 4, 4, 8), None)

    Args:
        in_features: channels of the input.
        out_features: channels of the output; there is a projection where they differ.
        stride: height and width of the squares in pixels.
        use_bias: whether the projection has a bias.
        norm: makes its normalization, see `ConvNormAct`.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Yu et al. 2018 (Deep Layer Aggregation), the released code.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        stride: int | tuple[int, int],
        use_bias: bool = False,
        norm: ModuleFactory | None = BatchNorm,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.pool = shrink(checks.pair("stride", stride)[0])
        self.project = (
            None
            if in_features == out_features
            else projection(in_features, out_features, use_bias=use_bias, norm=norm, **make)
        )

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Shrink and project.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h // stride, w // stride, out_features)``.
        """
        return apply(self.project, apply(self.pool, x))


class AggregationTree(Scoped):
    """A binary tree of blocks: a 1x1 convolution mixes the outputs that meet at each root.

    Of one level it is ``root([second(first(x)), first(x), *earlier])``; a deeper one is a tree
    after a tree, of which the second's roots read the first's output too.

    >>> block = partial(fb.BasicBlock, use_bias=False, shortcut=MaxPooledShortcut)
    >>> tree = AggregationTree(8, 16, levels=2, block=block, stride=2, rngs=nnx.Rngs(0))
    >>> tree.eval()
    >>> jax.eval_shape(tree, jnp.ones((1, 8, 8, 8))).shape
    (1, 4, 4, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        levels: how deep the tree is.
        block: makes each block, see `StageRow`.
        stride: step of the first block in pixels.
        reads_input: whether the last root reads the input too, shrunk by `stride`.
        root_residual: whether a root adds the second block's output to what it mixes.
        root_features: channels that the last root reads, without the input's; those of its two
            blocks where absent.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Yu et al. 2018 (Deep Layer Aggregation), equations 3 and 4, "hierarchical".
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        levels: int,
        block: ModuleFactory,
        stride: int = 1,
        reads_input: bool = False,
        root_residual: bool = False,
        root_features: int | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        levels = checks.positive_int("levels", levels)
        width = 2 * out_features if root_features is None else root_features
        width += in_features if reads_input else 0
        self.pool = shrink(stride)
        self.reads_input = reads_input
        self.root_residual = root_residual
        if levels == 1:
            self.first = block(in_features, out_features, stride=stride, **make)
            self.second = block(out_features, out_features, stride=1, **make)
            act = None if root_residual else relu
            self.root = ConvNormAct(width, out_features, 1, use_bias=False, act=act, **make)
            return
        tree = partial(
            AggregationTree, levels=levels - 1, block=block, root_residual=root_residual, **make
        )
        self.first = tree(in_features, out_features, stride=stride)
        self.second = tree(out_features, out_features, root_features=width + out_features)
        self.root = None

    def __call__(self, x: Float[Array, "n h w c"], *earlier: jax.Array) -> Float[Array, "n p q d"]:
        """Apply the blocks and mix their outputs.

        Args:
            x: input of shape ``(n, h, w, in_features)``.
            earlier: maps of shape ``(n, p, q, _)`` that the last root reads too.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        if self.reads_input:
            earlier = (*earlier, apply(self.pool, x))
        y = self.first(x)
        if self.root is None:
            subtree: Any = self.second
            return subtree(y, *earlier, y)
        z = self.second(y)
        mixed = self.root(jnp.concatenate([z, y, *earlier], -1))
        return relu(add_branches(mixed, z)) if self.root_residual else mixed
