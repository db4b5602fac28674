"""Convolutions of one input, added up: in training several, at inference one."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import projection
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu


def unchanged(x: jax.Array) -> jax.Array:
    """Return the input."""
    return x


def plain_skip(features: int, **_: object) -> Activation:
    """Return `unchanged`, as a `skip` for `RepConv`: the input is added as it is (RepViT)."""
    return unchanged


class RepConv(Scoped):
    """Parallel convolutions of one input, added up; `for_inference` makes them one.

    ``act(se(final_norm(convs[0](x) + convs[1](x) + ... + point(x) + skip(x))))``, where each
    convolution has a normalization of its own, and so has the input itself, in `skip`.

    >>> block = fb.RepConv(8, 8, branches=2, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 5, 5, 8))).shape
    (1, 5, 5, 8)
    >>> fast = fb.for_inference(block)
    >>> len(fast.convs), fast.point, fast.skip
    (1, None, None)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the kernels in pixels, odd.
        stride: step of the window in pixels.
        dilation: distance between the kernels' taps in pixels.
        groups: blocks into which the channels are split.
        branches: convolutions with such a kernel (MobileOne has 4).
        use_bias: whether they have a bias, and the 1x1 convolution.
        norm: makes each normalization, see `ConvNormAct`.
        point: makes the 1x1 convolution beside them: ``point(in_features, out_features, stride=,
            groups=, use_bias=, norm=, dtype=, param_dtype=, rngs=)``; None for none. There is
            none where the other kernels are 1x1 themselves.
        skip: makes what the input goes through where the shape stays, as `norm`; `plain_skip` for
            nothing at all, None for no such branch.
        final_norm: makes the normalization of the sum; None for none.
        se: makes the gate after it: ``se(out_features, dtype=, param_dtype=, rngs=)``.
        act: activation at the end; None for none.
        drop_path: probability of dropping all of a sample's convolutions in training; the input's
            own branch stays. Nothing is dropped where there is no such branch.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Ding et al. 2021, figure 2 (RepVGG); Vasu et al. 2022, figure 3 (several branches).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        branches: int = 1,
        use_bias: bool = False,
        norm: ModuleFactory | None = BatchNorm,
        point: ModuleFactory | None = projection,
        skip: ModuleFactory | None = BatchNorm,
        final_norm: ModuleFactory | None = None,
        se: ModuleFactory | None = None,
        act: Activation | None = relu,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        kernel, steps = checks.pair("kernel_size", kernel_size), checks.pair("stride", stride)
        if any(size % 2 == 0 for size in kernel):
            raise ValueError(
                f"`kernel_size` must be odd, so that a 1x1 kernel can be its center, got {kernel}"
            )
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        common = {"stride": steps, "groups": groups, "use_bias": use_bias, "norm": norm, **make}
        unit = partial(ConvNormAct, kernel_size=kernel, dilation=dilation, act=None, **common)
        count = checks.positive_int("branches", branches)
        self.convs = nnx.List(unit(in_features, out_features) for _ in range(count))
        make_point = checks.function("point", point, optional=True) if kernel != (1, 1) else None
        self.point = None if make_point is None else make_point(in_features, out_features, **common)
        stays = in_features == out_features and steps == (1, 1)
        self.skip = build("skip", skip if stays else None, out_features, **make)
        self.final_norm = build("final_norm", final_norm, out_features, **make)
        self.se = build("se", se, out_features, **make)
        self.act = checks.function("act", act, optional=True)
        rate = checks.fraction("drop_path", drop_path)
        self.drop_path = optional_stochastic_depth(0.0 if self.skip is None else rate, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Convolve, add up, gate, activate.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        y = self.convs[0](x)
        for conv in self.convs[1:]:
            y = y + conv(x)
        if self.point is not None:
            y = y + self.point(x)
        y = apply(self.drop_path, y)
        if self.skip is not None:
            y = y + self.skip(x)
        y = apply(self.final_norm, y)
        y = apply(self.se, y)
        return apply(self.act, y)
