"""`for_inference`: the copy computes what the model does, and can be handled as it can."""

import copy
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.blocks.convnext import NormConv
from flaxblocks.layers.norm_act import NormAct
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
from tests.helpers.twins import REPEATED, assert_same, flax_twin, image, torch_twin
from tests.helpers.twins import run_torch as run_torch_block
from tests.helpers.typed import instance, present

pytestmark = pytest.mark.usefixtures("quick")

IMAGE = (2, 37, 33, 3)
FOLDED = ("resnet18", "mobilenet_v3_small", "regnet_y_400mf", "convnext_tiny", "squeezenet1_1")
FOLDED += ("shufflenet_v2_x0_5",)
EVERY = [
    pytest.param(name, marks=[] if name in FOLDED else [pytest.mark.slow])
    for name in fb.list_models()
]
QUICK = [SMALLEST[family] for family in ("ResNet", "MobileNetV3")]  # the blocks have a test each
ALL = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in PUBLISHED]


def norms(module: nnx.Module) -> list[nnx.BatchNorm]:
    """Return the normalizations that follow a convolution; DenseNet's stand before theirs."""
    modules = [m for _, m in nnx.iter_modules(module)]
    before = {id(m.norm) for m in modules if isinstance(m, NormConv | NormAct)}
    return [m for m in modules if isinstance(m, nnx.BatchNorm) and id(m) not in before]


def count(module: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def branch_scales(module: nnx.Module) -> int:
    paths = nnx.to_flat_state(nnx.state(module, nnx.Param))
    return sum(leaf.size for path, leaf in paths if path[-1] == "layer_scale")


def biases(module: nnx.Module) -> int:
    convs = [m for _, m in nnx.iter_modules(module) if isinstance(m, nnx.Conv)]
    return sum(conv.out_features for conv in convs if conv.bias is not None)


def arrays(module: nnx.Module) -> list[np.ndarray]:
    return [
        np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(module, nnx.Param, nnx.BatchStat))
    ]


@pytest.mark.parametrize("name", EVERY)
def test_no_batch_norm_is_left_in_any_network(name: str):
    """Each of them had a scale and a shift; its convolution has a bias, if it had none before.

    The scales of residual branches are folded too.
    """
    network = abstract(name)
    folded = nnx.eval_shape(fb.for_inference, network)
    assert norms(folded) == []
    merged = [m for _, m in nnx.iter_modules(folded) if isinstance(m, fb.RepConv)]
    assert all((len(m.convs), m.point, m.skip) == (1, None, None) for m in merged)
    if not merged:
        scales_and_shifts = 2 * sum(norm.num_features for norm in norms(network))
        new = biases(folded) - biases(network)
        scales = branch_scales(network) - branch_scales(folded)
        assert count(network) - count(folded) == scales_and_shifts - new + scales
    blocks = [m for _, m in nnx.iter_modules(folded) if isinstance(m, fb.ConvNeXtBlock)]
    assert all(block.layer_scale is None for block in blocks)
    standing = [m for _, m in nnx.iter_modules(folded) if isinstance(m, nnx.BatchNorm)]
    assert len(jax.tree.leaves(nnx.state(folded, nnx.BatchStat))) == 3 * len(standing)


@pytest.mark.parametrize("name", ALL)
def test_a_folded_network_computes_what_torchvisions_does_in_float64(name: str, x64):
    x = np.random.default_rng(1).normal(size=IMAGE)
    twin = torch_network(name, x)
    network = flax_network(name, twin.state_dict())
    before = arrays(network)

    folded = fb.for_inference(network)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(network), before, strict=True))
    truth = run_torch(twin.eval(), x)
    value = run_by_blocks(folded, x)

    assert np.std(truth[0] - truth[1]) > 1e-3 * np.std(truth)
    assert_same(value, truth)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case in REPEATED else [])
        for case in CASES
    ],
)
def test_a_folded_block_computes_what_pytorchs_does_in_float64(case: Case, x64):
    twin, x = torch_twin(case), image(case.shape)
    block = flax_twin(case, twin.state_dict())
    folded = fb.for_inference(block)
    # An expert's convolution is another one for each image.
    standing = norms(block) if isinstance(block, fb.CondMBConv) else []
    assert len(norms(folded)) == len(standing)
    assert_same(_run(folded, jnp.asarray(x)), run_torch_block(twin.eval(), x))


@nnx.jit
def _run(module: nnx.Module, x: jax.Array) -> jax.Array:
    return module(x)


def assert_close(value: jax.Array, truth: jax.Array) -> None:
    error = measure.scaled_error(np.asarray(value), np.asarray(truth))
    assert error <= tolerance.bound("float32", "output")


def randomized(block: nnx.Module) -> nnx.Module:
    """Give the statistics and parameters of every normalization random values."""
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
    folded = fb.for_inference(module)
    module.eval()
    x = jnp.asarray(image((2, 5, 4, 8)))
    assert norms(folded) == []
    assert_same(_run(folded, x), _run(module, x))


def test_half_precision_parameters_stay_so():
    module = randomized(fb.MBConv(8, 8, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
    folded = fb.for_inference(module)
    module.eval()
    x = jnp.asarray(image((2, 5, 4, 8)), jnp.bfloat16)
    truth, value = _run(module, x), _run(folded, x)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(nnx.state(folded))} == {"bfloat16"}
    assert value.dtype == jnp.bfloat16
    error = measure.scaled_error(np.asarray(value, np.float32), np.asarray(truth, np.float32))
    assert error <= tolerance.bound("bfloat16", "output")


def test_names_and_paths_stay():
    """They are those of the same block without normalization."""
    folded = fb.for_inference(fb.BasicBlock(8, 8, use_bias=False, drop_path=0.5, rngs=nnx.Rngs(0)))
    plain = fb.BasicBlock(8, 8, norm=None, rngs=nnx.Rngs(0))
    assert isinstance(folded, fb.BasicBlock)
    assert fb.state_dict(folded).keys() == fb.state_dict(plain).keys()
    flat, expected = (dict(nnx.to_flat_state(nnx.state(m))) for m in (folded, plain))
    assert flat.keys() == expected.keys()


def test_nothing_is_dropped_even_in_train_mode():
    block = randomized(fb.BasicBlock(8, 8, drop_path=0.9, rngs=nnx.Rngs(0)))
    folded = fb.for_inference(block)
    block.eval()
    folded.train()
    x = jnp.asarray(image((4, 5, 4, 8)), jnp.float32)
    assert_close(_run(folded, x), _run(block, x))


COPIES = {
    "clone": nnx.clone,
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "split and merge": lambda module: nnx.merge(*nnx.split(module)),
}


@pytest.mark.parametrize("name", COPIES)
def test_it_can_be_copied(name: str):
    folded = fb.for_inference(fb.MBConv(8, 8, rngs=nnx.Rngs(0)))
    other = COPIES[name](folded)
    x = jnp.asarray(image((1, 5, 4, 8)), jnp.float32)
    assert nnx.graphdef(other) == nnx.graphdef(folded)
    assert np.array_equal(_run(other, x), _run(folded, x))


def test_nothing_is_shared_with_the_original():
    """Its arrays may be donated to a training step while the copy is in use."""
    block = fb.MBConv(8, 8, se=fb.SqueezeExcite, drop_path=0.5, rngs=nnx.Rngs(0))
    folded = fb.for_inference(block)
    norm = instance(block.depthwise.norm, fb.BatchNorm)
    assert not norm.use_running_average  # it is still in train mode
    x = jnp.asarray(image((1, 4, 4, 8)), jnp.float32)
    y = _run(folded, x)
    for leaf in jax.tree.leaves(nnx.state(block)):
        leaf.delete()
    assert np.array_equal(_run(folded, x), y)


def test_a_part_that_is_used_twice_stays_one_part():
    unit = randomized(fb.ConvNormAct(4, 4, rngs=nnx.Rngs(0)))
    folded = fb.for_inference(nnx.Sequential(unit, unit))
    assert folded.layers[0] is folded.layers[1]
    unit.eval()
    x = jnp.asarray(image((1, 4, 4, 4)), jnp.float32)
    assert_close(_run(folded, x), unit(unit(x)))


def two_norms_of_one_convolution() -> nnx.Module:
    first, second = (fb.ConvNormAct(4, 4, rngs=nnx.Rngs(0)) for _ in range(2))
    second.conv = first.conv
    return nnx.Sequential(first, second)


STANDING = {
    "a norm before its convolution": lambda: fb.ResidualAdd(
        fb.NormConv(4, 4, stride=1, norm=fb.BatchNorm, rngs=nnx.Rngs(0))
    ),
    "a norm alone": lambda: fb.BatchNorm(4, rngs=nnx.Rngs(0)),
    "two norms of one convolution": two_norms_of_one_convolution,
}


@pytest.mark.parametrize("name", STANDING)
def test_what_cannot_be_folded_stays_as_it_is(name: str):
    module = randomized(STANDING[name]())
    folded = fb.for_inference(module)
    module.eval()
    assert len(norms(folded)) == len(norms(module))
    x = jnp.asarray(image((2, 5, 4, 4)), jnp.float32)
    assert_close(_run(folded, x), _run(module, x))


def test_an_abstract_model_is_refused():
    module = nnx.eval_shape(lambda: fb.ConvNormAct(4, 4, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="`model` is abstract"):
        fb.for_inference(module)


class Dropping(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs):
        self.unit = fb.ConvNormAct(3, 4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dropout(self.unit(x))


def test_random_streams_may_be_abstract_as_they_are_beside_loaded_weights():
    real = Dropping(rngs=nnx.Rngs(3))
    randomized(real)
    loaded = nnx.eval_shape(lambda: Dropping(rngs=nnx.Rngs(3)))
    fb.load_state_dict(loaded, fb.state_dict(real))
    x = jnp.asarray(image((2, 5, 4, 3)), jnp.float32)

    fast, beside = fb.for_inference(loaded), fb.for_inference(real)

    graphdef, state = nnx.split(fast)
    np.testing.assert_array_equal(
        jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))(state, x), jax.jit(beside)(x)
    )
    fast.train()
    dropped = fast(x)
    assert 0.3 < np.mean(dropped == 0) < 0.9 and not np.array_equal(dropped, fast(x))
    own, kept = (present(m.dropout.rngs).key.get_value() for m in (real, beside))
    assert own == kept != present(fast.dropout.rngs).key.get_value()
