"""Every block computes what its PyTorch twin computes, in train mode and in eval mode."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from parity.cases import CASES, Case
from tests.helpers.tolerance import bound
from tests.helpers.twins import (
    REPEATED,
    assert_same,
    flax_twin,
    image,
    run_torch,
    torch_twin,
    train_then_eval,
)

pytestmark = pytest.mark.usefixtures("quick")

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

RESIDUAL = {
    "BottleNeck": fb.BottleNeck,
    "LinearBottleNeck": fb.LinearBottleNeck,
    "InvertedResidual": fb.InvertedResidual,
    "MobileNetLikeBlock": fb.MobileNetLikeBlock,
    "MBConv": fb.MBConv,
    "FusedMBConv": fb.FusedMBConv,
}
PROJECTING = ("BottleNeck", "LinearBottleNeck", "InvertedResidual")
every_residual_block = pytest.mark.parametrize("name", RESIDUAL)


@pytest.mark.parametrize("case", REPEATED, ids=lambda case: case.name)
def test_equals_pytorch_in_train_and_eval_mode(case: Case, x64):
    """The other cases take every check of the parity suite, see `test_parity_cases`."""
    twin, x = torch_twin(case), image(case.shape)
    block = flax_twin(case, twin.state_dict())

    trained, evaluated = train_then_eval(block, jnp.asarray(x))

    assert_same(trained, run_torch(twin.train(), x))
    assert_same(evaluated, run_torch(twin.eval(), x))
    for name, value in twin.state_dict().items():
        ours = fb.state_dict(block)[name]
        if ours.dtype == np.int64:
            assert ours == value.numpy()
        else:
            assert_same(ours, value.numpy(), "statistic")


@every_case
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32], ids=str)
def test_computes_in_dtype_and_keeps_parameters_in_param_dtype(case: Case, dtype: type):
    block = nnx.eval_shape(partial(case.build_flax, dtype=dtype))
    block.train()

    after, y = _abstract_call(block, case.shape, dtype)

    assert y.dtype == dtype
    for _, variable in nnx.to_flat_state(nnx.state(after)):
        if jnp.issubdtype(variable.get_value().dtype, jnp.floating):
            assert variable.get_value().dtype == jnp.float32


@every_case
def test_parameters_in_bfloat16_have_statistics_in_float32(case: Case):
    block = nnx.eval_shape(partial(case.build_flax, param_dtype=jnp.bfloat16))
    block.train()

    after, y = _abstract_call(block, case.shape, jnp.bfloat16)

    assert y.dtype == jnp.bfloat16
    for _, param in nnx.to_flat_state(nnx.state(after, nnx.Param)):
        assert param.get_value().dtype == jnp.bfloat16
    for path, stat in nnx.to_flat_state(nnx.state(after, nnx.BatchStat)):
        counts = path[-1] == "num_batches_tracked"
        assert stat.get_value().dtype == (jnp.int32 if counts else jnp.float32)


def _abstract_call(block, shape, dtype):
    """Return the block after a call and the call's result, without computing either."""

    def call(block, x):
        y = block(x)
        return block, y

    return nnx.eval_shape(call, block, jax.ShapeDtypeStruct(shape, dtype))


@nnx.jit
def _run(module: nnx.Module, x: jax.Array) -> jax.Array:
    return module(x)


@every_residual_block
@pytest.mark.parametrize("features,stride", [((8, 8), 1), ((8, 8), 2), ((8, 12), 1)])
def test_has_a_residual_only_where_it_should(name: str, features: tuple, stride: int):
    """A silenced branch leaves the shortcut: the identity, a projection, or nothing."""
    block = RESIDUAL[name](
        *features, stride=stride, use_bias=False, final_act=None, rngs=nnx.Rngs(0)
    )
    _silence(block)
    x = jnp.asarray(image((1, 6, 6, 8)), jnp.float32)

    y = np.asarray(_run(block, x))

    if features == (8, 8) and stride == 1:
        np.testing.assert_array_equal(y, x)
    elif name in PROJECTING:
        np.testing.assert_array_equal(y, _run(block.shortcut, x))
        assert np.count_nonzero(y)
    else:
        assert getattr(block, "shortcut", None) is None
        assert not np.count_nonzero(y)


def _silence(block: Any) -> None:
    """Let the residual branch return zeros: its last norm multiplies by zero."""
    last = getattr(block, "project", None) or block.expand
    last.norm.scale[...] = jnp.zeros_like(last.norm.scale[...])
    block.eval()


@every_residual_block
def test_drops_the_branch_of_whole_samples_and_keeps_the_shortcut(name: str):
    block = RESIDUAL[name](8, 8, final_act=None, drop_path=0.5, rngs=nnx.Rngs(3))
    whole = RESIDUAL[name](8, 8, final_act=None, rngs=nnx.Rngs(3))
    fb.load_state_dict(whole, fb.state_dict(block))
    x = jnp.asarray(image((16, 4, 4, 8)), jnp.float32)

    branch = np.asarray(_run(whole, x) - x)
    added = np.asarray(_run(block, x) - x)

    limit = bound("float32", "output") * np.abs(x).max()
    dropped = np.abs(added).max((1, 2, 3)) == 0
    assert 0 < dropped.sum() < 16
    np.testing.assert_allclose(added[~dropped], 2 * branch[~dropped], atol=limit, rtol=0)
    block.eval()
    whole.eval()
    np.testing.assert_array_equal(_run(block, x), _run(whole, x))


def test_the_branch_without_a_residual_is_never_dropped():
    block = fb.MBConv(8, 12, drop_path=1.0, final_act=None, rngs=nnx.Rngs(0))
    y = np.asarray(_run(block, jnp.asarray(image((4, 4, 4, 8)), jnp.float32)))
    assert np.abs(y).max((1, 2, 3)).all()


def test_residual_add_refuses_branches_of_different_shapes():
    block = fb.ResidualAdd(fb.Conv(8, 1, 1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"`block` returned shape \(2, 4, 4, 1\) and `shortcut`"):
        block(jnp.ones((2, 4, 4, 8)))


def test_linear_bottleneck_has_no_activation_at_the_end():
    weights = fb.state_dict(fb.BottleNeck(8, 8, rngs=nnx.Rngs(0)))
    last_relu, linear = (
        fb.BottleNeck(8, 8, rngs=nnx.Rngs(1)),
        fb.LinearBottleNeck(8, 8, rngs=nnx.Rngs(1)),
    )
    x = jnp.asarray(image((2, 4, 4, 8)), jnp.float32)
    for block in (last_relu, linear):
        fb.load_state_dict(block, weights)
        block.eval()
    assert linear(x).min() < 0
    np.testing.assert_array_equal(last_relu(x), nnx.relu(linear(x)))
