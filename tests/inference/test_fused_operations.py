"""A block for inference is one operation, and each platform's lowering alone chooses its form."""

import re
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import flaxblocks as fb
from flaxblocks import activations, ops
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from tests.helpers.folded import M, gate

pytestmark = pytest.mark.usefixtures("quick", "xla_forms")

KERNELS = re.compile(r"@flaxblocks_(\w+?)_[0-9a-f]{8}\b")


def ready(kind: Callable[..., M], *args, **kwargs) -> M:
    return fb.for_inference(kind(*args, **kwargs, rngs=nnx.Rngs(0)))


unit, mbconv = partial(ready, fb.ConvNormAct), partial(ready, fb.MBConv)
BLOCKS = {
    "unit": partial(unit, 8, 8),
    "unit with another norm": partial(unit, 8, 8, norm=fb.LayerNorm),
    "basic": partial(ready, fb.BasicBlock, 8, 8),
    "bottleneck": partial(ready, fb.LinearBottleNeck, 8, 8, 2),
    "inverted": partial(ready, fb.MobileNetLikeBlock, 8, 8),
    "MBConv": partial(mbconv, 8, 8, se=gate(2)),
    "FusedMBConv": partial(ready, fb.FusedMBConv, 8, 8),
    "universal": partial(ready, UniversalInvertedBottleneck, 8, 8, start_kernel_size=3),
    "ConvNeXt": partial(ready, fb.ConvNeXtBlock, 8),
    "separable": partial(ready, fb.DepthWiseSeparableConv, 8, 8),
    "stem": partial(ready, fb.Stem, 8, (8, 8)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_it_is_one_equation_whatever_the_size_dtype_and_switch(name: str):
    block = BLOCKS[name]()
    n, height = export.symbolic_shape("n, h")
    for shape, dtype, implementation in (
        ((64, 112, 112, 8), jnp.float32, "native"),
        ((n, 9, 9, 8), jnp.bfloat16, "native"),
        ((n, height, 9, 8), jnp.float32, "lax"),
    ):
        with ops.convolution(implementation):
            (equation,) = jax.make_jaxpr(block)(jax.ShapeDtypeStruct(shape, dtype)).eqns
            assert equation.primitive.name == "flaxblocks_fused"


def lowered(block: nnx.Module, *shape: int, dtype=jnp.float32) -> str:
    return jax.jit(block).lower(jax.ShapeDtypeStruct(shape, dtype)).as_text()


# 16 channels of float32 fill a kernel's vector.
CHOICES = {
    "pointwise": (partial(unit, 8, 16, 1), ["pointwise"]),
    "pointwise, few channels": (partial(unit, 8, 15, 1), []),
    "pointwise, strided": (partial(unit, 8, 16, 1, stride=2), ["dense"]),
    "pointwise, padded": (partial(unit, 8, 16, 1, padding=1), ["dense"]),
    "pointwise, another activation": (
        partial(unit, 8, 16, 1, act=activations.leaky_relu), ["pointwise"],
    ),
    "depthwise": (partial(unit, 8, 8, groups=8), ["narrow"]),
    "groups of 2": (partial(unit, 8, 8, groups=4), []),
    "dense": (partial(unit, 8, 16), ["dense"]),
    "dense, few channels": (partial(unit, 8, 15), []),
    "MBConv": (partial(mbconv, 8, 16, 2), ["inverted_residual"]),
    "MBConv, few hidden channels": (
        partial(mbconv, 8, 16, hidden_features=15), ["narrow", "pointwise"],
    ),
    "MBConv, few outputs": (partial(mbconv, 8, 15, 2), ["pointwise", "narrow"]),
    "MBConv, cropped": (
        partial(mbconv, 8, 16, 2, kernel_size=1, padding=0), ["inverted_residual"],
    ),
    "MBConv, groups": (
        partial(mbconv, 8, 16, 2, group_size=4), ["pointwise", "narrow", "pointwise"],
    ),
    "MBConv, another activation": (
        partial(mbconv, 8, 16, 2, final_act=activations.leaky_relu),
        ["pointwise", "narrow", "pointwise"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_the_native_kernels(name: str):
    make, kernels = CHOICES[name]
    block = make()
    assert KERNELS.findall(lowered(block, 2, 9, 9, 8)) == []
    with ops.convolution("native"):
        assert KERNELS.findall(lowered(block, 2, 9, 9, 8)) == kernels


def test_other_platforms_get_the_modules_own_forward():
    """Traced with native kernels asked for, and of a size that a CPU takes in chunks."""
    block = mbconv(16, 16)
    x = jax.ShapeDtypeStruct((64, 56, 56, 16), jnp.float32)
    with ops.convolution("native"):
        for platform in ("cuda", "tpu"):
            text = export.export(jax.jit(block), platforms=[platform])(x).mlir_module()
            assert text.count("stablehlo.convolution") == 3
            assert not re.search(r"flaxblocks_\w+_[0-9a-f]{8}|stablehlo.while", text)


@pytest.mark.parametrize("name", ["MBConv", "inverted", "universal", "ConvNeXt"])
def test_a_cpu_takes_images_in_chunks(name: str):
    block = BLOCKS[name]()
    assert "stablehlo.while" in lowered(block, 64, 112, 112, 8)
    assert "stablehlo.while" not in lowered(block, 1, 112, 112, 8)
    with ops.convolution("lax"):
        assert "stablehlo.while" not in lowered(block, 64, 112, 112, 8)


@pytest.mark.parametrize("name", ["bottleneck", "separable"])
def test_narrow_temporaries_are_not_worth_chunks(name: str):
    assert "stablehlo.while" not in lowered(BLOCKS[name](), 64, 112, 112, 8)


def test_one_kernel_needs_no_chunks():
    with ops.convolution("native"):
        assert "stablehlo.while" not in lowered(mbconv(16, 16), 64, 112, 112, 16)


def test_several_cpus_take_no_chunks():
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    x = jax.ShapeDtypeStruct(
        (64, 112, 112, 8), jnp.float32, sharding=NamedSharding(mesh, P("batch"))
    )
    text = jax.jit(BLOCKS["MBConv"]()).lower(x).as_text()
    assert "stablehlo.while" not in text


def test_a_network_takes_its_wide_stages_in_chunks():
    network = nnx.eval_shape(
        lambda: fb.for_inference(fb.create_model("mobilenet_v3_small", rngs=nnx.Rngs(0)))
    )
    graphdef, state = nnx.split(network)
    run = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))
    x = jax.ShapeDtypeStruct((16, 224, 224, 3), jnp.float32)
    text = run.lower(state, x).as_text()
    assert 1 < text.count("stablehlo.while") < len(network.stages)


@pytest.mark.parametrize("name", BLOCKS)
def test_arrays_that_carry_their_sharding(name: str):
    block = BLOCKS[name]()
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 5, 6, 8)), jnp.float32)
    truth = block(x)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        y = jax.jit(block)(jax.device_put(x, NamedSharding(mesh, P("batch"))))
        assert jax.typeof(y).sharding.spec[0] == "batch"
    np.testing.assert_allclose(y, truth, rtol=1e-5, atol=1e-5)


def test_a_size_that_is_known_when_it_runs():
    block = BLOCKS["MBConv"]()
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 5, 6, 8)), jnp.float32)
    sizes = export.symbolic_shape("n, h, w")
    with ops.convolution("native"):
        exported = export.export(jax.jit(block))(jax.ShapeDtypeStruct((*sizes, 8), jnp.float32))
    np.testing.assert_allclose(exported.call(x), block(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("debug", [
    jax.disable_jit, jax.checking_leaks, partial(jax.debug_nans, True),
    partial(jax.numpy_rank_promotion, "raise"), partial(jax.numpy_dtype_promotion, "strict"),
])  # fmt: skip
def test_debugging_modes(debug):
    block = BLOCKS["unit"]()
    x = jnp.ones((1, 4, 4, 8))
    truth = block(x)
    with debug():
        np.testing.assert_allclose(block(x), truth, rtol=1e-5, atol=1e-5)
        jax.jit(jax.grad(lambda x: block(x).sum()))(x)


def test_a_nan_is_found():
    block = BLOCKS["unit"]()
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="flaxblocks_fused"):
        block(jnp.full((1, 4, 4, 8), jnp.inf))
