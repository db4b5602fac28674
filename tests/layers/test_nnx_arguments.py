"""A layer of ours that extends one of NNX's takes its arguments, but for those named here."""

from inspect import signature

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

import flaxblocks as fb
from flaxblocks.layers.group_norm import GroupNorm
from tests.helpers.typed import present

RENAMED = {"strides": "stride", "kernel_dilation": "dilation", "feature_group_count": "groups"}
DTYPES = {"promote_dtype", "preferred_element_type"}  # `dtype` alone decides
AFFINE = {"use_bias", "use_scale", "bias_init", "scale_init"}  # scales start at 1, biases at 0
AXES = {"axis", "reduction_axes", "feature_axes", "axis_index_groups"}  # channels are last
VARIANCE = {"use_fast_variance", "mask"}  # taken about the mean, of every value
LEFT_OUT = {
    fb.Conv: DTYPES | {"input_dilation", "mask", "conv_general_dilated"},
    fb.Linear: DTYPES | {"kernel_init", "bias_init", "precision", "dot_general"},
    fb.BatchNorm: DTYPES | AFFINE | AXES | VARIANCE,
    fb.LayerNorm: DTYPES | AFFINE | AXES | VARIANCE | {"axis_name"},
    GroupNorm: DTYPES | AFFINE | AXES | VARIANCE | {"axis_name"},
}


@pytest.mark.parametrize("ours", LEFT_OUT)
def test_takes_what_nnxs_layer_takes(ours: type):
    (theirs,) = (base for base in ours.__bases__ if base.__module__.startswith("flax."))
    wanted = [*signature(theirs.__init__).parameters, *signature(theirs.__call__).parameters]
    given = {*signature(ours.__init__).parameters, *signature(ours.__call__).parameters}
    missing = {RENAMED.get(name, name) for name in wanted if name != "inputs"} - given
    assert missing <= LEFT_OUT[ours]


@pytest.mark.parametrize("ours", LEFT_OUT)
def test_metadata_reaches_the_variables(ours: type):
    sizes = {fb.Conv: (8, 8, 3), fb.Linear: (8, 8), GroupNorm: (32,)}.get(ours, (8,))
    weight = "kernel" if ours in (fb.Conv, fb.Linear) else "scale"
    given = {f"{weight}_metadata": {"mark": weight}, "bias_metadata": {"mark": "bias"}}
    layer = ours(*sizes, **given, rngs=nnx.Rngs(0))
    assert getattr(layer, weight).mark == weight
    assert present(layer.bias).mark == "bias"


def test_the_output_of_a_convolution_is_sharded_as_asked():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    spec = PartitionSpec("data", None, None, None)
    with jax.set_mesh(mesh):
        conv = fb.Conv(8, 8, 3, use_bias=False, rngs=nnx.Rngs(0))
        y = jax.eval_shape(lambda x: conv(x, out_sharding=spec), jnp.ones((4, 5, 5, 8)))
        assert y.sharding.spec == spec
