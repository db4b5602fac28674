"""`fold_batchnorm`: nothing to normalise is left, and the copy computes what the model does."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from parity.cases import CASES, Case
from parity.checks import measure
from tests.helpers import tolerance
from tests.helpers.networks import (
    PUBLISHED,
    SMALLEST,
    abstract,
    flax_network,
    run_by_blocks,
    run_torch,
    torch_network,
)
from tests.helpers.twins import assert_same, flax_twin, image, torch_twin
from tests.helpers.twins import run_torch as run_torch_block

IMAGE = (2, 37, 33, 3)
QUICK = 8_000_000  # parameters
EVERY = [
    pytest.param(name, marks=[] if PUBLISHED.get(name, QUICK) < QUICK else [pytest.mark.slow])
    for name in fb.list_models()
]
ALL = [
    pytest.param(name, marks=[] if name in SMALLEST.values() else [pytest.mark.slow])
    for name in PUBLISHED
]


def norms(module: nnx.Module) -> list[nnx.BatchNorm]:
    return [m for _, m in nnx.iter_modules(module) if isinstance(m, nnx.BatchNorm)]


def count(module: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def arrays(module: nnx.Module) -> list[np.ndarray]:
    return [
        np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(module, nnx.Param, nnx.BatchStat))
    ]


@pytest.mark.parametrize("name", EVERY)
def test_no_batch_norm_is_left_in_any_network(name: str):
    """Each of them had a scale and a shift; of the two, its convolution's bias is left."""
    network = abstract(name)
    folded = nnx.eval_shape(fb.fold_batchnorm, network)
    assert norms(folded) == []
    assert count(network) - count(folded) == sum(norm.num_features for norm in norms(network))
    assert jax.tree.leaves(nnx.state(folded, nnx.BatchStat)) == []


@pytest.mark.parametrize("name", ALL)
def test_a_folded_network_computes_what_torchvisions_does_in_float64(name: str, x64):
    x = np.random.default_rng(1).normal(size=IMAGE)
    twin = torch_network(name, x)
    network = flax_network(name, twin.state_dict())
    before = arrays(network)

    folded = fb.fold_batchnorm(network)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(network), before, strict=True))
    truth = run_torch(twin.eval(), x)
    value = run_by_blocks(folded, x)

    assert np.std(truth[0] - truth[1]) > 1e-3 * np.std(truth)
    assert_same(value, truth)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_folded_block_computes_what_pytorchs_does_in_float64(case: Case, x64):
    twin, x = torch_twin(case), image(case.shape)
    folded = fb.fold_batchnorm(flax_twin(case, twin.state_dict()))
    assert norms(folded) == []
    assert_same(_run(folded, x), run_torch_block(twin.eval(), x))


@nnx.jit
def _run(module: nnx.Module, x: jax.Array) -> jax.Array:
    return module(x)


def randomized(block: nnx.Module) -> nnx.Module:
    """Give the statistics and parameters of every normalisation random values."""
    rng = np.random.default_rng(0)
    for norm in norms(block):
        for variable in (norm.scale, norm.bias, norm.mean, norm.var):
            if variable is not None:
                values = rng.uniform(0.5, 2, norm.num_features)
                variable.set_value(jnp.asarray(values, norm.param_dtype))
    return block


BATCH_NORMS = {
    "NNX's own": nnx.BatchNorm,
    "without scale and bias": partial(nnx.BatchNorm, use_scale=False, use_bias=False),
    "another epsilon": partial(fb.BatchNorm, epsilon=0.5),
}


@pytest.mark.parametrize("norm", BATCH_NORMS.values(), ids=BATCH_NORMS)
@pytest.mark.parametrize("block", [fb.ConvNormAct, fb.ConvNeXtBlock], ids=lambda b: b.__name__)
def test_other_batch_norms_and_other_places_for_them(block, norm, x64):
    module = randomized(block(8, 8, norm=norm, param_dtype=jnp.float64, rngs=nnx.Rngs(0)))
    folded = fb.fold_batchnorm(module)
    module.eval()
    x = image((2, 5, 4, 8))
    assert norms(folded) == []
    assert_same(_run(folded, x), _run(module, x))


def test_half_precision_parameters_stay_so():
    module = randomized(fb.MBConv(8, 8, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
    folded = fb.fold_batchnorm(module)
    module.eval()
    x = jnp.asarray(image((2, 5, 4, 8)), jnp.bfloat16)
    truth, value = _run(module, x), _run(folded, x)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(nnx.state(folded))} == {"bfloat16"}
    assert value.dtype == jnp.bfloat16
    error = measure.scaled_error(np.asarray(value, np.float32), np.asarray(truth, np.float32))
    assert error <= tolerance.bound("bfloat16", "output")


def test_the_copy_is_an_ordinary_module_in_eval_mode():
    """What it looks like is what the same block without normalisation looks like."""
    options = {"drop_path": 0.5, "rngs": nnx.Rngs(0)}
    folded = fb.fold_batchnorm(fb.BasicBlock(8, 8, use_bias=False, **options))
    plain = fb.BasicBlock(8, 8, norm=None, **options)
    plain.eval()
    assert nnx.graphdef(folded) == nnx.graphdef(plain)
    assert fb.state_dict(folded).keys() == fb.state_dict(plain).keys()


def test_nothing_is_shared_with_the_original():
    """Its arrays may be donated to a training step while the copy is in use."""
    block = fb.MBConv(8, 8, se=fb.SqueezeExcite, drop_path=0.5, rngs=nnx.Rngs(0))
    folded = fb.fold_batchnorm(block)
    assert not block.depthwise.norm.use_running_average  # it is still in train mode
    x = jnp.asarray(image((1, 4, 4, 8)), jnp.float32)
    y = _run(folded, x)
    for leaf in jax.tree.leaves(nnx.state(block)):
        leaf.delete()
    assert np.array_equal(_run(folded, x), y)


def test_a_part_that_is_used_twice_stays_one_part():
    unit = randomized(fb.ConvNormAct(4, 4, rngs=nnx.Rngs(0)))
    folded = fb.fold_batchnorm(nnx.Sequential(unit, unit))
    assert folded.layers[0] is folded.layers[1]
    unit.eval()
    x = jnp.asarray(image((1, 4, 4, 4)), jnp.float32)
    error = measure.scaled_error(np.asarray(_run(folded, x)), np.asarray(unit(unit(x))))
    assert error <= tolerance.bound("float32", "output")


def two_norms_of_one_convolution() -> nnx.Module:
    first, second = (fb.ConvNormAct(4, 4, rngs=nnx.Rngs(0)) for _ in range(2))
    second.conv = first.conv
    return nnx.Sequential(first, second)


REFUSED = {
    "a norm before its convolution": (
        lambda: fb.ResidualAdd(fb.NormConv(4, 4, stride=1, norm=fb.BatchNorm, rngs=nnx.Rngs(0))),
        r"`model` must have a convolution before each.* none before block\.norm$",
    ),
    "a norm alone": (lambda: fb.BatchNorm(4, rngs=nnx.Rngs(0)), "before the module itself$"),
    "all of them": (
        lambda: nnx.Sequential(*(fb.BatchNorm(4, rngs=nnx.Rngs(0)) for _ in range(2))),
        r"before layers\.0, layers\.1$",
    ),
    "two norms of one convolution": (
        two_norms_of_one_convolution,
        r"a convolution for each normalisation, layers\.1 shares its own with another",
    ),
    "no weights": (
        lambda: nnx.eval_shape(lambda: fb.ConvNormAct(4, 4, rngs=nnx.Rngs(0))),
        "`model` is abstract",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_folded_is_refused_and_unchanged(make, message: str):
    module = make()
    before = nnx.graphdef(module)
    with pytest.raises(ValueError, match=message):
        fb.fold_batchnorm(module)
    assert nnx.graphdef(module) == before
