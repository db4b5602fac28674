# pyright: basic
"""A stage of a network."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.optional import apply
from flaxblocks.layers.scopes import Scoped, scoped
from flaxblocks.models.architecture import StageRow


class Stage(Scoped):
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
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        width, stride = in_features, row.stride
        if row.downsample is None:
            self.downsample = None
        else:
            self.downsample = row.downsample(
                width, row.downsample_features or row.features, stride=stride, **make
            )
            width, stride = row.downsample_features or row.features, 1
        self.blocks: nnx.List[Any] = nnx.List()
        if row.around is not None:
            blocks = [
                partial(block, drop_path=rate) if rate else block
                for block, rate in zip(row.blocks, drop_paths, strict=True)
            ]
            self.blocks.append(row.around(width, row.features, blocks=blocks, **make))
            return
        widths = row.widths or (row.features,) * len(row.blocks)
        for block, next_width, rate in zip(row.blocks, widths, drop_paths, strict=True):
            drops = {"drop_path": rate} if rate else {}
            self.blocks.append(block(width, next_width, stride=stride, **drops, **make))
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

    @scoped
    def rematerialized(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the blocks; the backward pass recomputes their activations instead of storing them.

        Unlike `nnx.remat` it writes back only what the call changed, so that a network in eval mode
        stays a pure function, which plain `jax` transformations may close over.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            What calling the stage returns.
        """
        graphdef, state = nnx.split(self)

        @jax.checkpoint
        def run(state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
            copy = nnx.merge(graphdef, state, copy=True)
            y = copy(x)
            before = dict(nnx.to_flat_state(state))
            changed = [
                (path, new)
                for path, new in nnx.to_flat_state(nnx.state(copy))
                if new.get_value() is not before[path].get_value()
            ]
            return y, nnx.from_flat_state(changed)

        y, changed = run(state, x)
        nnx.update(self, changed)
        return y
