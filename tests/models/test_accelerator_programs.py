"""Blocks and networks are lowered for TPU and for an NVIDIA GPU, without either being here."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import export

import flaxblocks as fb
from parity.cases import CASES
from tests.helpers.twins import REPEATED

NAMES = (
    "resnet18",
    "mobilenet_v3_small",
    "mobilenet_v2",
    "mnasnet0_5",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "squeezenet1_1",
    "densenet121",
    "shufflenet_v2_x0_5",
    "timm/mobilenetv4_conv_small",
    "timm/test_resnet",
)
ALL = pytest.mark.slow
FIRST = 1  # of the networks, in the default run
IMAGES = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.bfloat16)


def program(module: nnx.Module, x: jax.ShapeDtypeStruct, platform: str) -> str:
    """Return the exported program of the forward pass and the gradients in train mode."""
    module.train()
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)

    def step(params, rest, x):
        def loss(params):
            module = nnx.merge(graphdef, params, rest, copy=True)
            return jnp.square(module(x)).mean(), nnx.state(module, nnx.BatchStat)

        return jax.value_and_grad(loss, has_aux=True)(params)

    exported = export.export(jax.jit(step), platforms=[platform])(params, rest, x)
    assert exported.platforms == (platform,)
    return exported.mlir_module()


def network(name: str) -> nnx.Module:
    return nnx.eval_shape(lambda: fb.create_model(name, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[ALL] if case in REPEATED else []) for case in CASES],
)
def test_every_block_is_exported_for_tpu(case):
    block = nnx.eval_shape(lambda: case.build_flax(dtype=jnp.bfloat16))
    text = program(block, jax.ShapeDtypeStruct(case.shape, jnp.bfloat16), "tpu")
    assert "stablehlo" in text and "custom_call" not in text


@pytest.mark.parametrize(
    "name", [*NAMES[:FIRST], *(pytest.param(name, marks=ALL) for name in NAMES[FIRST:])]
)
def test_a_network_of_each_family_is_exported_for_tpu(name: str):
    text = program(network(name), IMAGES, "tpu")
    assert "stablehlo.convolution" in text and "custom_call" not in text


def test_a_stem_takes_its_wider_form_in_the_program_for_a_gpu():
    wide = "tensor<4x4x12x64xbf16>"  # its kernel
    model = network("resnet18")
    assert wide in program(model, IMAGES, "cuda") and wide not in program(model, IMAGES, "tpu")
