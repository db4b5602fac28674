"""The basic block of the shallow ResNets."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import add_branches, other_branch, projection
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu


class BasicBlock(Scoped):
    """Two convolutions, 3x3 unless told otherwise, and a shortcut.

    ``final_act(second(first(x)) + shortcut(x))``; the shortcut is the identity, or `shortcut`
    where the shape changes. The stride is that of the first convolution that sees more than one
    pixel.

    >>> block = fb.BasicBlock(8, 16, stride=2, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 8))).shape
    (1, 5, 5, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        hidden_features: channels between the two; `out_features` where absent.
        kernel_size: height and width of the kernels in pixels.
        second_kernel_size: the same of the second, where it differs: 1 after a 3x3 one (an "edge"
            block), 3 after a 1x1 one (DarkNet).
        stride: step of the block in pixels.
        dilation: distance between the kernels' taps in pixels.
        first_dilation: the same of the first convolution, where it differs.
        use_bias: whether the convolutions have a bias.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after the first convolution.
        second_act: activation after the second; None for none.
        final_act: activation after the addition; None for none.
        shortcut: makes the other branch where the shape changes, see `BottleNeck`.
        pool: follows the first convolution and takes the stride in its place, see `BottleNeck`.
        hidden_se: makes a gate between the two convolutions, on `hidden_features`.
        se: makes a gate at the end of the residual branch, see `BottleNeck`.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: He et al. 2016, figure 5, left; Redmon and Farhadi 2018, table 1 (DarkNet).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int | None = None,
        kernel_size: int | tuple[int, int] = 3,
        second_kernel_size: int | tuple[int, int] | None = None,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        first_dilation: int | tuple[int, int] | None = None,
        use_bias: bool = True,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        second_act: Activation | None = None,
        final_act: Activation | None = relu,
        shortcut: ModuleFactory | None = projection,
        pool: Activation | None = None,
        hidden_se: ModuleFactory | None = None,
        se: ModuleFactory | None = None,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        stride = checks.pair("stride", stride)
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, use_bias=use_bias, norm=norm, **make)
        self.pool = checks.function("pool", pool, optional=True)
        hidden = (
            out_features
            if hidden_features is None
            else checks.positive_int("hidden_features", hidden_features)
        )
        kernel = checks.pair("kernel_size", kernel_size)
        second = kernel if second_kernel_size is None else second_kernel_size
        step = stride if pool is None else (1, 1)
        waits = kernel == (1, 1) and checks.pair("second_kernel_size", second) != kernel
        first_dilation = dilation if first_dilation is None else first_dilation
        self.first = unit(
            in_features,
            hidden,
            kernel,
            stride=(1, 1) if waits else step,
            dilation=first_dilation,
            act=act,
        )
        self.hidden_se = build("hidden_se", hidden_se, hidden, **make)
        self.second = unit(
            hidden,
            out_features,
            second,
            stride=step if waits else (1, 1),
            dilation=dilation,
            act=second_act,
        )
        self.se = build("se", se, out_features, **make)
        self.adds, self.shortcut = other_branch(
            shortcut, in_features, out_features, stride=stride, use_bias=use_bias, norm=norm, **make
        )
        self.drop_path = optional_stochastic_depth(drop_path, rngs)
        self.final_act = checks.function("final_act", final_act, optional=True)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        y = self.first(x)
        y = apply(self.pool, y)
        y = apply(self.hidden_se, y)
        y = self.second(y)
        y = apply(self.se, y)
        if self.adds:
            y = apply(self.drop_path, y)
            y = add_branches(y, apply(self.shortcut, x))
        return apply(self.final_act, y)
