"""Batch normalization with PyTorch's semantics."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks._base.dtypes import at_least_float32
from flaxblocks.layers.initializers import constant
from flaxblocks.layers.rngs import check_rngs
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation
from flaxblocks.ops.batch_normalize import Finish, batch_normalize


class BatchNorm(Scoped, nnx.BatchNorm):
    """Normalize each channel over the batch: ``(x - mean) / sqrt(var + epsilon) * scale + bias``.

    In train mode the batch's mean and *biased* variance normalize, and the running mean and the
    *unbiased* variance are stored, as PyTorch does and NNX does not; an empty batch leaves them
    alone. Under `jax.jit` a batch that is sharded over devices is normalized as one global batch;
    under `jax.shard_map` or `jax.vmap` name the mapped axis in `axis_name`. Statistics are computed
    and kept in at least float32.

    The attribute `groups` says in how many parts, each of as many rows in a row, a batch is
    normalized; it is 1, and `train.split_statistics` sets it. The running statistics move towards
    the mean of the parts'.

    >>> norm = fb.BatchNorm(8, rngs=nnx.Rngs(0))
    >>> y = norm(jnp.ones((2, 4, 4, 8)))
    >>> int(norm.num_batches_tracked[...])
    1

    Args:
        num_features: channels of the input.
        momentum: the *decay* of the running statistics, NNX's meaning: 1 minus PyTorch's
            `momentum`. PyTorch's default 0.1 is 0.9 here.
        epsilon: number added to the variance.
        use_running_average: normalize by the stored statistics; `train()` and `eval()` switch it.
        axis_name: a mapped axis over which the statistics are averaged too.
        dtype: dtype of the result; inferred from input and parameters where absent.
        param_dtype: dtype of the parameters.
        scale_metadata: metadata of the scale's variable, such as its sharding.
        bias_metadata: metadata of the bias's variable.
        rngs: random streams.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Ioffe and Szegedy 2015, Algorithms 1 and 2; `torch.nn.BatchNorm2d`.
    """

    def __init__(
        self,
        num_features: int,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        use_running_average: bool = False,
        axis_name: str | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        scale_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        rngs: nnx.Rngs,
    ):
        check_rngs(rngs)
        # NNX draws keys that nothing uses, and compiles a program for each number of features.
        super().__init__(
            1,
            use_bias=False,
            use_scale=False,
            use_running_average=use_running_average,
            momentum=checks.fraction("momentum", momentum),
            epsilon=checks.at_least_0("epsilon", epsilon),
            axis_name=axis_name,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.use_bias = self.use_scale = True
        self.groups = 1
        self.num_features = checks.positive_int("num_features", num_features)
        shape, stats_dtype = (num_features,), at_least_float32(param_dtype)
        self.scale = nnx.Param(constant(1, shape, param_dtype), **scale_metadata)
        self.bias = nnx.Param(constant(0, shape, param_dtype), **bias_metadata)
        self.mean = nnx.BatchStat(constant(0, shape, stats_dtype))
        self.var = nnx.BatchStat(constant(1, shape, stats_dtype))
        self.num_batches_tracked = nnx.BatchStat(constant(0, (), jnp.int32))

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        x: Float[Array, "*n c"],
        use_running_average: bool | None = None,
        *,
        act: Activation | None = None,
    ) -> Float[Array, "*n c"]:
        """Normalize, and in train mode update the running statistics.

        Args:
            x: input of shape ``(n, h, w, num_features)``, or of any rank with the channels last.
            use_running_average: overrides the module's own switch.
            act: elementwise activation of the result. In training its backward pass then needs
                nothing stored, see `ops.batch_normalize`.

        Returns:
            An array of the input's shape.

        Raises:
            ValueError: if the channels do not match, or if in train mode there is only one value
                per channel, of which no variance can be taken.
        """
        if x.shape[-1] != self.num_features:
            raise ValueError(
                f"`x` must have {self.num_features} channels on its last axis, got {x.shape}"
            )
        if use_running_average is None:
            use_running_average = self.use_running_average
        assert self.scale is not None and self.bias is not None  # both are always created
        dtype: DTypeLike = self.dtype or jnp.result_type(x, self.scale[...], self.bias[...])
        wide = at_least_float32(dtype)
        scale, bias, mean, var = (
            jax.lax.expand_dims(variable[...].astype(wide), range(x.ndim - 1))
            for variable in (self.scale, self.bias, self.mean, self.var)
        )
        count = 0
        if not use_running_average:
            count = self._count(x)
            self.num_batches_tracked.set_value(self.num_batches_tracked[...] + 1)

        finish = Finish(np.dtype(dtype), act)
        if not count:
            factor = scale / jnp.sqrt(var + self.epsilon)
            return finish((x.astype(wide) - mean) * factor + bias)
        if self.groups == 1:
            y, mean, var = batch_normalize(
                x, scale, bias, self.epsilon, self.axis_name, wide, finish
            )
            self._store(mean, var * (count / (count - 1)))
            return y
        parts = x.reshape(self.groups, -1, *x.shape[1:])

        def normalize(part: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            return batch_normalize(part, scale, bias, self.epsilon, self.axis_name, wide, finish)

        y, mean, var = jax.vmap(normalize)(parts)
        self._store(mean.mean(0), var.mean(0) * (count / (count - 1)))
        return y.reshape(x.shape)

    def _count(self, x: jax.Array) -> int:
        """Return the number of values per channel of which statistics are taken."""
        if x.shape[0] % self.groups:
            raise ValueError(f"`groups` must divide the {x.shape[0]} rows of x, got {self.groups}")
        count = x.size // self.num_features // self.groups
        if self.axis_name is not None:
            count *= jax.lax.axis_size(self.axis_name)
        if count == 1:
            raise ValueError(
                "`x` must hold more than one value per channel in train mode, got shape "
                f"{x.shape}: the variance of one value does not exist"
            )
        return count

    def _store(self, mean: jax.Array, unbiased_var: jax.Array) -> None:
        """Move the running statistics towards the batch's, as PyTorch does."""
        for stored, new in ((self.mean, mean), (self.var, unbiased_var)):
            old = stored[...]
            new = jax.lax.stop_gradient(new).reshape(old.shape)
            moved = self.momentum * old + (1 - self.momentum) * new
            # Not `stored[...] = `, which asks a traced array for its sharding: JAX's answer, that
            # it has none, searches the whole program, half of the time of tracing a network.
            stored.set_value(moved.astype(old.dtype))
