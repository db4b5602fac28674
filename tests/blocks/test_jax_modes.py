"""Every layer and block works in JAX's debugging and strict modes, and with explicit sharding."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import flaxblocks as fb
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.layers.response_norm import GlobalResponseNorm
from flaxblocks.layers.scale_norm import rms_norm, simple_norm
from flaxblocks.ops import average_pool, blur_pool, max_pool
from tests.helpers.twins import image

pytestmark = pytest.mark.usefixtures("quick")

SHAPE = (4, 4, 4, 8)

MODULES: dict[str, Callable[..., nnx.Module]] = {
    "Conv": partial(fb.Conv, 8, 8, 3),
    "Conv depthwise": partial(fb.Conv, 8, 8, 3, groups=8, stride=2),
    "Conv grouped": partial(fb.Conv, 8, 8, 3, groups=2),
    "Linear": partial(fb.Linear, 8, 8),
    "BatchNorm": partial(fb.BatchNorm, 8),
    "LayerNorm": partial(fb.LayerNorm, 8),
    "GroupNorm": partial(GroupNorm, 8, num_groups=2),
    "rms_norm": partial(rms_norm, 8),
    "simple_norm": partial(simple_norm, 8),
    "GlobalResponseNorm": partial(GlobalResponseNorm, 8),
    "SqueezeExcite": partial(fb.SqueezeExcite, 8),
    "EfficientChannelAttention": partial(EfficientChannelAttention, 8),
    "StochasticDepth": partial(fb.StochasticDepth, 0.5),
    "ConvNormAct": partial(fb.ConvNormAct, 8, 8, act=fb.activations.hard_swish),
    "ResidualAdd": lambda *, rngs: fb.ResidualAdd(fb.Conv1X1BnReLU(8, 8, rngs=rngs)),
    "BasicBlock": partial(fb.BasicBlock, 8, 8, stride=2, pool=average_pool),
    "BottleNeck": partial(fb.BottleNeck, 8, 8, se=fb.SqueezeExcite, drop_path=0.5),
    "BottleNeck pooled": partial(
        fb.BottleNeck, 8, 16, stride=2, shortcut=PooledProjection, pool=blur_pool
    ),
    "LinearBottleNeck": partial(fb.LinearBottleNeck, 8, 16),
    "InvertedResidual": partial(fb.InvertedResidual, 8, 16, 2),
    "MobileNetLikeBlock": partial(fb.MobileNetLikeBlock, 8, 8, 2),
    "DepthWiseSeparableConv": partial(fb.DepthWiseSeparableConv, 8, 8),
    "MBConv": partial(fb.MBConv, 8, 8, 2, se=fb.SqueezeExcite, act=fb.activations.silu),
    "FusedMBConv": partial(fb.FusedMBConv, 8, 8, 2, drop_path=0.5),
    "UniversalInvertedBottleneck": partial(UniversalInvertedBottleneck, 8, 8, 2),
    "ConvNeXtBlock": partial(fb.ConvNeXtBlock, 8, kernel_size=3, drop_path=0.5),
    "NormConv": partial(fb.NormConv, 8, 8),
    "Stem": partial(fb.Stem, 8, (8,), pool=max_pool),
    "Head": partial(fb.Head, 8, 4, drop_rate=0.5),
}
every_module = pytest.mark.parametrize("name", MODULES)
# A norm's own derivative, a convolution's, statistics, random numbers, a gate. The check takes a
# second for each.
LEAKY = ("Conv depthwise", "BatchNorm", "StochasticDepth", "MBConv", "Stem")


def step(module: nnx.Module, x: jax.Array) -> tuple:
    """Return a loss, its gradients and the output in eval mode afterwards."""

    def loss_of(module: nnx.Module, x: jax.Array) -> jax.Array:
        return jnp.square(module(x)).mean()

    module.train()
    loss, gradients = nnx.value_and_grad(loss_of, argnums=(nnx.DiffState(0, nnx.Param), 1))(
        module, x
    )
    module.eval()
    return loss, gradients, module(x)


def made(name: str) -> nnx.Module:
    return MODULES[name](rngs=nnx.Rngs(0))


def traced(name: str) -> jax.ShapeDtypeStruct:
    module = nnx.eval_shape(partial(made, name))
    _, _, y = nnx.eval_shape(step, module, jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    return y


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "x64"])
@every_module
def test_traces_without_implicit_promotion(name: str, x64: bool):
    strict = jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict")
    with jax.enable_x64(x64), strict[0], strict[1]:
        assert traced(name).dtype == jnp.float32


@pytest.mark.parametrize(
    "name",
    [name if name in LEAKY else pytest.param(name, marks=pytest.mark.slow) for name in MODULES],
)
def test_leaks_no_tracer(name: str):
    with jax.checking_leaks():
        traced(name)


def sharded_over_the_batch() -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(
        SHAPE,
        jnp.float32,
        sharding=NamedSharding(jax.sharding.get_abstract_mesh(), PartitionSpec("data")),
    )


@every_module
def test_traces_with_explicit_sharding(name: str):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        module = nnx.eval_shape(partial(made, name))
        _, gradients, y = nnx.eval_shape(step, module, sharded_over_the_batch())
    assert jax.typeof(y).sharding.spec[0] == "data"
    for leaf in jax.tree.leaves(gradients[0]):
        assert not any(leaf.sharding.spec)


@every_module
def test_runs_operation_by_operation_without_a_nan_on_the_way(name: str):
    module, x = made(name), jnp.asarray(image(SHAPE), jnp.float32)
    is_block = any(isinstance(part, nnx.Module) for part in vars(module).values())
    with jax.disable_jit(), jax.debug_nans(True):
        # The gradient of a block is made of its layers', each of which takes seconds here.
        results = (module(x), module.eval() or module(x)) if is_block else step(module, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))
