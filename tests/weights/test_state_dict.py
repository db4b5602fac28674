"""PyTorch's weights in and out: strict, atomic, exact, and shared with nobody."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import flaxblocks as fb
from parity.cases import CASES, Case
from parity.sides.weights import randomize
from tests.helpers.tolerance import bound
from tests.helpers.twins import BY_NAME, image
from tests.helpers.typed import instance, present

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
COUNTER = "norm.num_batches_tracked"


def unit(seed: int = 0, **arguments) -> fb.ConvNormAct:
    return fb.ConvNormAct(4, 6, **arguments, rngs=nnx.Rngs(seed))


def torch_weights(case: Case) -> dict[str, torch.Tensor]:
    module = case.build_torch()
    randomize(module, np.random.default_rng(0))
    return module.state_dict()


def assert_identical(given: dict, truth: dict) -> None:
    """Fail unless both hold the same arrays, bit for bit, with the same dtypes."""
    assert given.keys() == truth.keys()
    for name, value in given.items():
        assert value.dtype == np.asarray(truth[name]).dtype, name
        np.testing.assert_array_equal(value, np.asarray(truth[name]), err_msg=name)


@every_case
def test_pytorch_to_flax_and_back_is_the_identity(case: Case):
    weights = torch_weights(case)
    block = nnx.eval_shape(case.build_flax)
    fb.load_state_dict(block, weights)
    exported = fb.state_dict(block)
    assert_identical(exported, weights)
    case.build_torch().load_state_dict({k: torch.from_numpy(v) for k, v in exported.items()})


@pytest.mark.parametrize("case", [BY_NAME["MBConv/efficientnet"]], ids=lambda case: case.name)
def test_flax_to_flax_is_the_identity(case: Case):
    source, target = case.build_flax(seed=0), case.build_flax(seed=1)
    source.train()
    source(jnp.asarray(image(case.shape), jnp.float32))
    fb.load_state_dict(target, fb.state_dict(source))
    jax.tree.map(
        np.testing.assert_array_equal,
        nnx.state(target, (nnx.Param, nnx.BatchStat)),
        nnx.state(source, (nnx.Param, nnx.BatchStat)),
    )


def test_one_message_lists_everything_that_does_not_fit_and_nothing_is_loaded():
    block = unit()
    before = fb.state_dict(block)
    broken = fb.state_dict(unit(seed=1))
    del broken["conv.bias"], broken["norm.running_var"]
    broken["norm.weight"] = np.ones(5, np.float32)
    broken["conv.weight"] = np.moveaxis(broken["conv.weight"], 0, 1)
    broken["classifier.weight"] = np.ones((2, 3), np.float32)

    with pytest.raises(ValueError) as caught:
        fb.load_state_dict(block, broken)

    assert str(caught.value).splitlines() == [
        "`state_dict` does not fit ConvNormAct, nothing was loaded; it is of another network; "
        "3 of 7 tensors fit:",
        "  missing conv.bias, shape (6,)",
        "  missing norm.running_var, shape (6,)",
        "  unexpected classifier.weight, shape (2, 3)",
        "  misshapen conv.weight: (4, 6, 3, 3) given, (6, 4, 3, 3) needed",
        "  misshapen norm.weight: (5,) given, (6,) needed",
    ]
    assert_identical(fb.state_dict(block), before)


def test_nothing_is_loaded_when_a_value_cannot_be_converted():
    block = unit()
    before = fb.state_dict(block)
    broken = fb.state_dict(unit(seed=1)) | {"norm.running_var": np.array(["x"] * 6)}
    with pytest.raises(ValueError):
        fb.load_state_dict(block, broken)
    assert_identical(fb.state_dict(block), before)


@pytest.mark.parametrize(
    "convert",
    [np.asarray, jnp.asarray, torch.from_numpy, lambda a: torch.nn.Parameter(torch.from_numpy(a))],
    ids=["numpy", "jax", "torch", "parameter"],
)
def test_values_may_be_numpy_jax_or_torch(convert):
    source, target = fb.Conv(4, 6, 3, rngs=nnx.Rngs(0)), fb.Conv(4, 6, 3, rngs=nnx.Rngs(1))
    weights = fb.state_dict(source)
    fb.load_state_dict(target, {name: convert(value) for name, value in weights.items()})
    assert_identical(fb.state_dict(target), weights)


def test_bfloat16_tensors_of_pytorch_are_read_exactly():
    target = fb.Conv(4, 6, 3, rngs=nnx.Rngs(1))
    twin = torch.nn.Conv2d(4, 6, 3).bfloat16()
    fb.load_state_dict(target, twin.state_dict())
    exact = {name: value.float().numpy() for name, value in twin.state_dict().items()}
    assert_identical(fb.state_dict(target), exact)


def test_each_variable_keeps_its_dtype_unless_another_is_asked_for():
    weights = {
        k: v.astype(np.float64)
        for k, v in fb.state_dict(fb.Conv(4, 6, 3, rngs=nnx.Rngs(0))).items()
    }
    conv = fb.Conv(4, 6, 3, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(1))
    fb.load_state_dict(conv, weights)
    assert conv.kernel[...].dtype == present(conv.bias)[...].dtype == jnp.bfloat16
    fb.load_state_dict(conv, weights, dtype=jnp.float32)
    assert conv.kernel[...].dtype == present(conv.bias)[...].dtype == jnp.float32
    np.testing.assert_array_equal(fb.state_dict(conv)["weight"], weights["weight"])


def test_the_counter_stays_an_integer_whatever_dtype_is_asked_for():
    block = unit()
    weights = fb.state_dict(block) | {COUNTER: np.array(7)}
    fb.load_state_dict(block, weights, dtype=jnp.bfloat16)
    assert instance(block.norm, fb.BatchNorm).num_batches_tracked[...].dtype == jnp.int32
    exported = fb.state_dict(block, dtype=np.float16)
    assert exported[COUNTER] == 7
    assert exported[COUNTER].dtype == np.int64
    assert {value.dtype for name, value in exported.items() if name != COUNTER} == {
        np.dtype(np.float16)
    }


def test_the_counter_goes_on_where_pytorch_stopped_and_back():
    twin = BY_NAME["ConvNormAct"].build_torch()
    block = BY_NAME["ConvNormAct"].build_flax()
    for _ in range(3):
        twin(torch.ones(2, 32, 4, 4))
    fb.load_state_dict(block, twin.state_dict())
    block(jnp.ones((2, 4, 4, 32)))
    exported = fb.state_dict(block)
    twin.load_state_dict({name: torch.from_numpy(value) for name, value in exported.items()})
    assert twin.norm.num_batches_tracked == torch.tensor(4)
    assert exported[COUNTER].dtype == np.int64


def test_a_counter_that_is_missing_stays_as_it_is_in_pytorch():
    theirs, block = torch.nn.BatchNorm2d(6), fb.BatchNorm(6, rngs=nnx.Rngs(0))
    present(theirs.num_batches_tracked).add_(5)
    block.num_batches_tracked[...] += 5
    old = {
        k: v for k, v in torch.nn.BatchNorm2d(6).state_dict().items() if k != "num_batches_tracked"
    }
    theirs.load_state_dict(old)
    fb.load_state_dict(block, old)
    assert int(block.num_batches_tracked[...]) == int(present(theirs.num_batches_tracked)) == 5
    new = nnx.eval_shape(lambda: fb.BatchNorm(6, rngs=nnx.Rngs(0)))
    fb.load_state_dict(new, old)
    assert int(new.num_batches_tracked[...]) == 0


def test_the_module_shares_no_memory_with_the_checkpoint():
    """JAX may alias NumPy's memory on CPU, and PyTorch updates its buffers in place."""
    twin = BY_NAME["ConvNormAct"].build_torch()
    block = BY_NAME["ConvNormAct"].build_flax()
    fb.load_state_dict(block, twin.state_dict())
    before = fb.state_dict(block)
    with torch.no_grad():
        for value in twin.state_dict().values():
            value.add_(1)
    assert_identical(fb.state_dict(block), before)


def test_the_exported_arrays_are_private_and_writable():
    block = unit()
    before = fb.state_dict(block)
    for value in fb.state_dict(block).values():
        value += 1
    assert_identical(fb.state_dict(block), before)


PLAIN = [
    (lambda rngs: nnx.Conv(4, 6, (3, 2), rngs=rngs), lambda: torch.nn.Conv2d(4, 6, (3, 2))),
    (lambda rngs: nnx.Linear(4, 6, rngs=rngs), lambda: torch.nn.Linear(4, 6)),
    (lambda rngs: nnx.BatchNorm(4, rngs=rngs), lambda: torch.nn.BatchNorm2d(4)),
    (lambda rngs: nnx.LayerNorm(4, rngs=rngs), lambda: torch.nn.LayerNorm(4)),
    (lambda rngs: nnx.GroupNorm(4, 2, rngs=rngs), lambda: torch.nn.GroupNorm(2, 4)),
    (
        lambda rngs: nnx.Sequential(
            nnx.Linear(4, 6, rngs=rngs), nnx.relu, nnx.Linear(6, 2, rngs=rngs)
        ),
        lambda: torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)),
    ),
]


@pytest.mark.parametrize("make,make_torch", PLAIN, ids=lambda make: make.__name__)
def test_nnx_own_layers_line_up_too(make, make_torch):
    module, twin = make(nnx.Rngs(0)), make_torch()
    randomize(twin, np.random.default_rng(0))
    weights = twin.state_dict()
    fb.load_state_dict(module, weights)
    exported = fb.state_dict(module)
    counter = {"num_batches_tracked": np.zeros((), np.int64)}  # NNX's own has no counter
    expected = {k: v.numpy() for k, v in weights.items()}
    assert_identical(exported, expected | (counter if counter.keys() <= expected.keys() else {}))


def test_a_linear_layer_computes_what_pytorchs_does():
    module, twin = nnx.Linear(4, 6, rngs=nnx.Rngs(0)), torch.nn.Linear(4, 6)
    fb.load_state_dict(module, twin.state_dict())
    x = image((5, 4)).astype(np.float32)
    truth = twin(torch.from_numpy(x)).detach().numpy()
    atol = bound("float32", "output") * np.abs(truth).max()
    np.testing.assert_allclose(module(jnp.asarray(x)), truth, rtol=0, atol=atol)


def test_an_abstract_module_becomes_a_real_one():
    case = BY_NAME["MBConv"]
    real = case.build_flax()
    abstract = nnx.eval_shape(partial(case.build_flax, seed=1))
    fb.load_state_dict(abstract, fb.state_dict(real))
    assert_identical(fb.state_dict(abstract), fb.state_dict(real))
    x = jnp.asarray(image((1, 5, 5, 32)), jnp.float32)
    np.testing.assert_array_equal(abstract(x), real(x))


def test_the_weights_stay_on_their_device():
    block = unit()
    device = jax.devices()[2]
    nnx.update(block, jax.device_put(nnx.state(block), device))
    fb.load_state_dict(block, fb.state_dict(unit(seed=1)))
    assert instance(block.conv, fb.Conv).kernel[...].devices() == {device}


@pytest.mark.parametrize("call", [fb.state_dict, lambda m, names: fb.load_state_dict(m, {}, names)])
def test_unknown_names_are_refused(call):
    with pytest.raises(ValueError, match=r"`names` must be one of \[.*'native'.*\], got 'keras'"):
        call(unit(), "keras")
