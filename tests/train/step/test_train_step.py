"""The train step: what it computes, what it keeps, and that it compiles once."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from flaxblocks.train import (
    CrossEntropy,
    Mixing,
    create_state,
    make_eval_step,
    make_train_step,
    normalize,
)
from flaxblocks.train.step.state import TrainState
from tests.helpers.train_nets import SmallNet, apart, batch, float64_net, weights

EXACT = 1e-10  # of each array's scale: float64 rounds at 1e-16, and sums are short
SGD = optax.sgd(0.1, momentum=0.9)


def bits(state: TrainState) -> list[np.ndarray]:
    """Return every number of the state, the keys included."""

    def plain(leaf: jax.Array) -> np.ndarray:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    return [plain(leaf) for leaf in jax.tree.leaves(state)]


def same_bits(one: TrainState, other: TrainState) -> bool:
    pairs = zip(bits(one), bits(other), strict=True)
    return all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def test_a_step_is_the_update_that_one_would_write_by_hand(x64):
    data, model = batch(), float64_net()
    graphdef, params, rest = nnx.split(nnx.clone(model), nnx.Param, ...)

    @jax.jit
    def gradient(params):
        def loss(params):
            net = nnx.merge(graphdef, params, rest, copy=True)
            logits = jax.nn.log_softmax(net(jnp.asarray(data["image"])))
            return -logits[jnp.arange(8), data["label"]].mean(), nnx.state(net, nnx.BatchStat)

        return jax.value_and_grad(loss, has_aux=True)(params)

    (loss, statistics), gradients = gradient(params)
    state, metrics = make_train_step(optax.sgd(0.1))(create_state(model, optax.sgd(0.1)), data)

    by_hand = nnx.to_pure_dict(jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients))
    expected = weights(replace(state, params=by_hand, statistics=nnx.to_pure_dict(statistics)))
    assert float(metrics["loss"]) == pytest.approx(float(loss), rel=1e-12)
    norm = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradients)))
    assert float(metrics["gradient_norm"]) == pytest.approx(norm, rel=1e-12)
    for name, value in weights(state).items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=EXACT, err_msg=name)


def test_resumed_training_has_the_same_bits_and_one_compilation(x64):
    """With all that is random and all that is kept: dropout, drop path, mixing, average, parts."""
    adam = optax.adam(1e-3)
    start = create_state(float64_net(0.5), adam, average=True)
    step = make_train_step(adam, mixing=Mixing(0.2, 1.0), accumulate=2, average_decay=0.9)
    traces = []
    step._function = counting(step._function, traces)

    def train(state: TrainState, seeds: range) -> TrainState:
        for seed in seeds:
            state, _ = step(state, batch(seed=seed))
        return state

    stored = jax.tree.map(jnp.copy, half := train(jax.tree.map(jnp.copy, start), range(2)))
    whole, resumed = train(half, range(2, 4)), train(stored, range(2, 4))

    assert same_bits(whole, resumed)
    assert len(traces) == 1
    assert not same_bits(train(jax.tree.map(jnp.copy, start), range(4, 5)), start)


def counting(function, calls: list):
    def counted(*arguments):
        calls.append(None)
        return function(*arguments)

    return counted


def test_each_accumulated_part_moves_the_statistics(x64):
    data, model = batch(6), float64_net()
    frozen = optax.sgd(0.0)
    accumulated, _ = make_train_step(frozen, accumulate=2)(create_state(model, frozen), data)
    one_by_one = create_state(model, frozen)
    step = make_train_step(frozen)
    for part in range(2):
        one_by_one, _ = step(one_by_one, {name: rows[part::2] for name, rows in data.items()})
    assert apart(accumulated, one_by_one) <= EXACT


def test_refuses_parts_that_do_not_divide_the_batch(x64):
    step = make_train_step(SGD, accumulate=3)
    with pytest.raises(ValueError, match="`accumulate` must divide the batch's 8 rows, got 3"):
        step.lower(create_state(float64_net(), SGD), batch(8))


def test_the_average_follows_the_weights_and_is_what_is_evaluated(x64):
    data, decay = batch(), 0.15
    state = create_state(float64_net(), SGD, average=True)
    step = make_train_step(SGD, average_decay=decay)
    expected = weights(state)
    for number in range(3):
        state, _ = step(state, data)
        weight = min(decay, (1 + number) / (10 + number))
        for name, value in weights(state).items():
            moves = np.issubdtype(value.dtype, np.floating)
            old = expected[name]
            expected[name] = weight * old + (1 - weight) * value if moves else value
    params, statistics = state.average
    average = weights(replace(state, params=params, statistics=statistics))
    for name, value in average.items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=EXACT, err_msg=name)

    model = state.model(average=True)
    model.eval()
    logits = nnx.jit(lambda net, x: net(x))(model, jnp.asarray(data["image"]))
    sums = make_eval_step(average=True)(state, data)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, data["label"])
    assert float(sums["loss"]) == pytest.approx(float(losses.sum()), rel=1e-12)
    assert float(sums["count"]) == 8


def test_bfloat16_computes_and_float32_keeps():
    model = nnx.eval_shape(lambda: SmallNet(dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
    graphdef, *arrays = nnx.split(model, nnx.Param, nnx.BatchStat, nnx.RngState)
    params, statistics, rng = map(nnx.to_pure_dict, arrays)
    state = TrainState(
        step=jax.ShapeDtypeStruct((), jnp.int32),
        params=params,
        frozen={},
        statistics=statistics,
        rng=rng,
        optimizer=jax.eval_shape(SGD.init, params),
        average=None,
        graphdef=graphdef,
    )
    data = {"image": np.zeros((2, 5, 5, 3), np.uint8), "label": np.zeros(2, np.int32)}
    step = make_train_step(SGD, prepare=normalize((0.5,), (0.2,)))

    logits = jax.eval_shape(
        lambda arrays, image: nnx.merge(graphdef, *arrays)(image),
        (params, statistics, rng),
        jnp.ones((2, 5, 5, 3)),
    )
    new, metrics = jax.eval_shape(
        lambda state, data: step._function(state, data, CrossEntropy()), state, data
    )

    assert logits.dtype == jnp.bfloat16
    before = jax.tree.leaves((params, statistics))
    after = jax.tree.leaves((new.params, new.statistics))
    assert [leaf.dtype for leaf in after] == [leaf.dtype for leaf in before]
    assert {leaf.dtype for leaf in after} == {jnp.dtype("float32"), jnp.dtype("int32")}
    assert {leaf.dtype for leaf in metrics.values()} == {jnp.dtype("float32")}


def test_bytes_are_normalized_on_the_device():
    image = np.arange(0, 240, 20, dtype=np.uint8).reshape(1, 2, 2, 3)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.2)
    ours = normalize(mean, std)({"image": jnp.asarray(image), "label": np.zeros(1)})["image"]
    np.testing.assert_allclose(ours, (image / 255 - mean) / std, rtol=1e-5, atol=1e-6)


def test_the_state_and_the_network_have_arrays_of_their_own(x64):
    model = nnx.clone(float64_net())
    state = create_state(model, SGD, average=True)
    kept = state.model()
    make_train_step(SGD)(state, batch())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    for module in (model, kept):
        assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(nnx.state(module)))


def test_refuses_variables_that_it_would_not_keep():
    model: Any = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    model.seen = nnx.Cache(jnp.zeros(()))
    with pytest.raises(ValueError, match="Param, BatchStat and RngState only, got Cache"):
        create_state(model, SGD)


def test_an_average_that_is_not_kept_cannot_be_asked_for(x64):
    with pytest.raises(ValueError, match="create_state\\(model, optimizer, average=True\\)"):
        create_state(float64_net(), SGD).model(average=True)


def test_refuses_a_loss_that_reports_no_metrics(x64):
    step = make_train_step(SGD, loss=lambda model, rows: model(rows["image"]).mean())
    with pytest.raises(TypeError, match="`loss` must return a pair of the mean loss and a dict"):
        step.lower(create_state(float64_net(), SGD), batch(8))


def test_refuses_an_average_decay_out_of_range():
    with pytest.raises(ValueError, match="`average_decay` must lie between 0 and 1"):
        make_train_step(SGD, average_decay=-1)
