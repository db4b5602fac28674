"""What is frozen keeps its bits, costs no gradient, and what a module's switches say is done."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.train import Mixing, create_state, make_train_step, under
from flaxblocks.train.step.filters import Filter
from flaxblocks.train.step.state import TrainState
from tests.helpers.train_nets import batch, float64_net
from tests.helpers.typed import instance

ADAMW = optax.adamw(1e-2, weight_decay=0.1)


def arrays(state: TrainState) -> dict[str, np.ndarray]:
    """Return parameters, trained or not, and statistics by their paths."""
    flat = nnx.to_flat_state(nnx.state(state.model(), (nnx.Param, nnx.BatchStat)))
    return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in flat}


def changed(model: nnx.Module, trainable: Filter = ..., **options) -> set[str]:
    """Return the paths of what two steps change."""
    state = create_state(model, ADAMW, trainable=trainable, average=True)
    before = arrays(state)
    step = make_train_step(ADAMW, **options)
    for seed in range(2):
        state, _ = step(state, batch(seed=seed))
    after = arrays(state)
    assert before.keys() == after.keys()
    return {name for name in before if before[name].tobytes() != after[name].tobytes()}


def test_all_but_the_head_is_frozen_bit_for_bit(x64):
    """With weight decay, an average, mixing and accumulation, none of which may touch it."""
    options = {"mixing": Mixing(1.0, 1.0), "accumulate": 2, "average_decay": 0.5}
    head = {"head.classifier.kernel", "head.classifier.bias"}
    assert changed(float64_net(0.5), under("head"), **options) == head


def test_a_frozen_stem_keeps_its_statistics_and_the_rest_moves(x64):
    model = float64_net()
    names = arrays(create_state(model, ADAMW)).keys()
    trained = nnx.Not(under("stem"))
    assert changed(model, trained) == {name for name in names if not name.startswith("stem.")}
    assert not instance(model.stem.norm, fb.BatchNorm).use_running_average


def test_the_statistics_move_where_a_normalization_is_trained_in_part(x64):
    names = changed(float64_net(), lambda path, value: path == ("stem", "norm", "bias"))
    assert {name.rpartition(".")[2] for name in names if name.startswith("stem.norm")} == {
        "bias", "mean", "var", "num_batches_tracked"
    }  # fmt: skip
    assert all(name.startswith("stem.norm") for name in names)


class Bare(nnx.Module):
    """A linear layer, and a normalization that has statistics and no parameters."""

    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.body = nnx.Dict(
            norm=nnx.BatchNorm(4, use_scale=False, use_bias=False, rngs=rngs),
            linear=nnx.Linear(4, 4, rngs=rngs),
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.body["linear"](self.body["norm"](self.first(x.mean((1, 2)))))


@pytest.mark.parametrize("trained,moves", [("first", False), ("body", True)])
def test_a_normalization_without_parameters_follows_the_module_around_it(trained: str, moves: bool):
    state = create_state(Bare(nnx.Rngs(0)), ADAMW, trainable=under(trained))
    assert state.model().body["norm"].use_running_average != moves


@pytest.mark.parametrize("name", ["stem.norm", "unit.norm"])
def test_a_normalization_put_in_eval_mode_stays_so(name: str, x64):
    model = nnx.clone(float64_net())
    getattr(model, name.split(".")[0]).norm.eval()
    moved = {path.rpartition(".")[0] for path in changed(model) if path.endswith(("mean", "var"))}
    assert moved == {"stem.norm", "unit.norm"} - {name}


def test_a_network_in_eval_mode_keeps_all_its_statistics_and_draws_nothing(x64):
    model = nnx.clone(float64_net(0.5))
    model.eval()
    still = optax.sgd(0.0)
    state = create_state(model, still)
    before, drawn = arrays(state), jax.tree.leaves(jax.tree.map(jnp.copy, state.rng))
    state, _ = make_train_step(still)(state, batch())
    after = arrays(state)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert [*map(str, drawn)] == [*map(str, jax.tree.leaves(state.rng))]
    assert state.model().head.dropout.deterministic


def products(text: str) -> int:
    return text.count("stablehlo.convolution") + text.count("stablehlo.dot_general")


def test_frozen_parameters_cost_no_gradient_and_no_optimizer_state(x64, xla_forms):
    """Counted in the program before XLA optimizes it: the forward pass, and one for the kernel."""
    model, data = float64_net(), jax.tree.map(jnp.asarray, batch())
    forward = jax.jit(lambda image: nnx.merge(*nnx.split(model), copy=True)(image))
    frozen = create_state(model, ADAMW, trainable=under("head"))
    whole = create_state(model, ADAMW)
    count, of_head, of_all = (
        products(program.as_text())
        for program in (
            forward.lower(data["image"]),
            make_train_step(ADAMW).lower(frozen, data),
            make_train_step(ADAMW).lower(whole, data),
        )
    )
    assert count == 3
    assert of_head == count + 1
    assert of_all == count + 3 + 2  # every kernel's, and the input's of all but the first
    shapes = {leaf.shape for leaf in jax.tree.leaves(frozen.optimizer)}
    assert shapes == {(), (32, 10), (10,)}
    assert not jax.tree.leaves(
        create_state(model, optax.sgd(0.1), trainable=under("head")).optimizer
    )


def test_the_network_comes_back_whole(x64):
    model = float64_net()
    state = create_state(model, ADAMW, trainable=under("head"), average=True)
    for back in (state.model(), state.model(average=True)):
        ours, theirs = (jax.tree.leaves(nnx.state(net, nnx.Param)) for net in (back, model))
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_filter_that_selects_nothing_is_refused():
    with pytest.raises(ValueError, match="must select at least one parameter, got Under"):
        create_state(fb.Head(3, 10, rngs=nnx.Rngs(0)), ADAMW, trainable=under("haed"))
