"""Cross-stage partial blocks: half of the channels goes past the blocks of a stage."""

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, leaky_relu


class CrossStagePartial(Scoped):
    """``merge([past, mix(blocks(through))])``, the halves ``past, through = split(expand(x))``.

    Without `mix` the halves change places: ``merge([blocks(through), past])`` with
    ``through, past = split(expand(x))`` ("C3").

    >>> block = partial(fb.BottleNeck, hidden_features=4)
    >>> part = fb.CrossStagePartial(8, 12, blocks=(block, block), rngs=nnx.Rngs(0))
    >>> part(jnp.ones((1, 5, 5, 8))).shape, part.expand.conv.out_features
    ((1, 5, 5, 12), 12)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        blocks: makes each block: ``block(in_features, out_features, dtype=, param_dtype=, rngs=)``.
        expand_features: channels of both halves; `out_features` where absent.
        block_features: channels after each block; half of `expand_features` where absent.
        mixes: whether a 1x1 convolution follows the blocks.
        use_bias: whether the convolutions around the blocks have a bias.
        norm: makes each normalization of these, see `ConvNormAct`.
        act: activation after each of them.
        linear: whether none follows the expansion.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or `expand_features` is odd.

    Source: Wang et al. 2020 (CSPNet), figure 3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        blocks: Sequence[ModuleFactory],
        expand_features: int | None = None,
        block_features: int | None = None,
        mixes: bool = True,
        use_bias: bool = False,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = leaky_relu,
        linear: bool = False,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, kernel_size=1, use_bias=use_bias, norm=norm, **make)
        wide = out_features if expand_features is None else expand_features
        if checks.positive_int("expand_features", wide) % 2:
            raise ValueError(f"`expand_features` must be even, got {wide}")
        half = wide // 2
        width = half if block_features is None else block_features
        widths = (half, *(width,) * len(blocks))
        self.expand = unit(in_features, wide, act=None if linear else act)
        self.blocks = nnx.List(
            block(before, width, **make) for block, before in zip(blocks, widths[:-1], strict=True)
        )
        self.mix = unit(widths[-1], half, act=act) if mixes else None
        self.merge = unit(half + (half if mixes else widths[-1]), out_features, act=act)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Split, apply the blocks to one half, and merge.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h, w, out_features)``.
        """
        first, second = jnp.split(self.expand(x), 2, axis=-1)
        through, past = (first, second) if self.mix is None else (second, first)
        for block in self.blocks:
            through = block(through)
        if self.mix is None:
            return self.merge(jnp.concatenate([through, past], -1))
        return self.merge(jnp.concatenate([past, self.mix(through)], -1))
