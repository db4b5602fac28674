"""Any configuration of any block equals the same configuration in PyTorch."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flaxblocks as fb
from parity.cases import Case, Factory, Function, Spec
from tests.helpers.twins import assert_same, image, run_torch, torch_twin, train_then_eval

CHANNELS = st.sampled_from([4, 8, 12])
ACTIVATIONS = st.sampled_from(["relu", "relu6", "silu", "hard_swish", "gelu", "sigmoid"]).map(
    Function
)
GATES = st.one_of(
    st.none(),
    st.builds(
        lambda ratio, act: Factory("SqueezeExcite", kwargs={"ratio": ratio, "act": act}),
        st.sampled_from([0.25, 0.5, 1.0]),
        ACTIVATIONS,
    ),
)
NORMS = st.one_of(
    st.none(),
    st.builds(
        lambda eps: Factory("BatchNorm", kwargs={"epsilon": eps}), st.sampled_from([1e-5, 1e-3])
    ),
)
WINDOW = {
    "kernel_size": st.one_of(st.integers(1, 5), st.tuples(st.integers(1, 4), st.integers(1, 4))),
    "stride": st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 2), st.integers(1, 2))),
    "dilation": st.integers(1, 2),
    "use_bias": st.booleans(),
}
UNIT = WINDOW | {"norm": NORMS, "act": ACTIVATIONS}
# A branch that is added to its input keeps the size.
BRANCH = UNIT | {"kernel_size": st.sampled_from([1, 3, 5, (1, 3), (5, 3)])}
EXPANSION = {"expansion": st.sampled_from([0.5, 1, 1.5, 2, 4])}
REDUCTION = {"reduction": st.sampled_from([0.5, 1, 2])}
GROUPS = {"groups": st.sampled_from([1, 2])}  # 2 divides every width
SHAPES = st.tuples(st.integers(1, 3), st.integers(9, 12), st.integers(9, 12))

BLOCKS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "ConvNormAct": UNIT | GROUPS,
    "BottleNeck": BRANCH | GROUPS | REDUCTION | {"se": GATES, "spatial_se": GATES},
    "LinearBottleNeck": BRANCH | GROUPS | REDUCTION,
    "InvertedResidual": BRANCH | GROUPS | EXPANSION,
    "MobileNetLikeBlock": BRANCH | GROUPS | EXPANSION,
    "DepthWiseSeparableConv": WINDOW | {"padding": st.integers(0, 2)},
    "MBConv": BRANCH | EXPANSION | {"se": GATES, "final_act": ACTIVATIONS},
    "FusedMBConv": BRANCH | EXPANSION | {"se": GATES, "final_act": ACTIVATIONS},
}


@st.composite
def cases(draw: st.DrawFn, name: str) -> Case:
    """Draw a block's arguments and an input's shape; any argument may be left to its default."""
    features = draw(CHANNELS), draw(CHANNELS)
    arguments = draw(st.fixed_dictionaries({}, optional=BLOCKS[name]))
    if "groups" in arguments and "reduction" in BLOCKS[name]:
        arguments.setdefault("reduction", 2)  # groups do not divide what the default of 4 may leave
    return Case(name, Spec(name, features, arguments), (*draw(SHAPES), features[0]))


@pytest.mark.parametrize("name", BLOCKS)
@settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # `x64` is the same for each
)
@given(data=st.data())
def test_equals_pytorch(name: str, data: st.DataObject, x64):
    case = data.draw(cases(name))
    twin, x = torch_twin(case), image(case.shape)
    block = nnx.eval_shape(partial(case.build_flax, param_dtype=jnp.float64))
    fb.load_state_dict(block, twin.state_dict())
    trained, evaluated = train_then_eval(block, jnp.asarray(x))

    assert_same(trained, run_torch(twin.train(), x))
    assert_same(evaluated, run_torch(twin.eval(), x))
    params = jax.tree.leaves(nnx.state(block, nnx.Param))
    assert sum(p.size for p in params) == sum(p.numel() for p in twin.parameters())


@settings(max_examples=30, derandomize=True, deadline=None)
@given(
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    size=st.integers(7, 40),
)
def test_the_default_padding_has_pytorchs_output_size(kernel, stride, dilation, size):
    """``floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1``."""
    conv = nnx.eval_shape(
        lambda: fb.Conv(1, 1, kernel, stride=stride, dilation=dilation, rngs=nnx.Rngs(0))
    )
    y = nnx.eval_shape(
        lambda conv, x: conv(x), conv, jax.ShapeDtypeStruct((1, size, size, 1), jnp.float32)
    )
    padding = dilation * (kernel - 1) // 2
    expected = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    assert y.shape == (1, expected, expected, 1)
