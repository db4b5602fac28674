"""Each of the mistakes that ports make is found where it is, and named for what it is."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from torch import nn

from parity import compare
from parity.diagnosis.diagnose import in_float64
from parity.diagnosis.sentences import sentences
from parity.sides.pairing import pair_up
from parity.sides.runs import Runs
from tests.helpers import user_net
from tests.helpers.user_faults import (
    FAULTS,
    act_before_norm,
    everything_of_a_norm,
    exchanged_layers,
)
from tests.helpers.user_net import SHAPE, FlaxNet, TorchNet

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def causes(port: FlaxNet, original: TorchNet | None = None) -> list[str]:
    """Return the sentences; operations run one at a time, so that what compiles is shared."""
    return list(
        sentences(list(in_float64(Runs(pair_up(original or TorchNet(), port), [X], stepwise=True))))
    )


def place_of(where: str) -> str:
    """Return what a report calls a layer of the network, or the one line that holds a text."""
    if where in dict(TorchNet().named_modules()):
        return where
    lines = Path(user_net.__file__).read_text(encoding="utf-8").splitlines()
    torch_lines = lines[: lines.index("class Transposed(nnx.Module):")]
    (number,) = [n for n, line in enumerate(torch_lines, 1) if where in line]
    return f"the whole module (user_net.py:{number})"


# One of each file of hypotheses runs by default; what compiles is shared, each costs a second.
DEFAULT = {"same", "batch_eps", "momentum", "act_before_norm", "tanh_gelu", "flatten_order"}
DEFAULT |= {"counted_padding", "softmax_axis", "missing_attention_scale", "bfloat16"}
DEFAULT |= {"nearest", "label_order"}
EACH = [
    pytest.param(
        *fault, id=fault[0].__name__, marks=() if fault[0].__name__ in DEFAULT else pytest.mark.slow
    )
    for fault in FAULTS
]


@pytest.mark.parametrize(("plant", "where", "cause"), EACH)
def test_a_planted_fault_is_found_and_named(plant, where, cause):
    port = FlaxNet(nnx.Rngs(0))
    plant(port)
    found = causes(port)
    assert len(found) == 1, found
    assert found[0].startswith(f"first divergence at {place_of(where)} "), found
    assert cause in found[0], found


def test_an_equal_port_has_no_cause():
    assert causes(FlaxNet(nnx.Rngs(0))) == []


def test_all_that_is_wrong_with_a_norm_is_said():
    port = FlaxNet(nnx.Rngs(0))
    everything_of_a_norm(port)
    found = causes(port)
    assert [text.partition(" at norm in ")[1] != "" for text in found] == [True, True, True], found
    kinds = [text.partition("mode: ")[2].partition(":")[0] for text in found]
    assert kinds == ["eps", "momentum", "variance bias"]


def test_what_a_norm_stores_is_told_apart_from_what_it_is_given():
    port: Any = FlaxNet(nnx.Rngs(0))
    act_before_norm(port)
    port.norm = nnx.BatchNorm(8, momentum=0.9, rngs=nnx.Rngs(0))
    kinds = [text.partition("mode: ")[2].partition(":")[0] for text in causes(port)]
    assert kinds == ["order", "variance bias"]


def test_all_that_is_wrong_in_bfloat16_is_said():
    port: Any = FlaxNet(nnx.Rngs(0))
    port.norm = nnx.BatchNorm(8, epsilon=1e-3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    for layer in (port.stem, port.twin, port.qkv, port.mlp, port.head):
        layer.dtype = jnp.bfloat16
    found = causes(port)
    assert "at stem in eval mode: reduced matmul precision: JAX rounds to bfloat16" in found[0]
    kinds = [text.partition("at norm in ")[2].partition("mode: ")[2] for text in found[1:]]
    assert [text.partition(":")[0] for text in kinds] == ["eps", "momentum", "variance bias"]
    assert kinds[0].startswith("eps: JAX adds 0.001 to the variance, PyTorch 1e-05")


def test_layers_that_exchanged_their_weights_are_both_named():
    port = FlaxNet(nnx.Rngs(0))
    exchanged_layers(port)
    first, second = causes(port)
    assert "at project in eval mode: weights exchanged: JAX takes those of mlp" in first
    assert "at mlp in eval mode: weights exchanged: JAX takes those of project" in second


def test_a_cause_is_said_once_with_its_places():
    port = FlaxNet(nnx.Rngs(0))
    port.norm.epsilon = port.twin_norm.epsilon = 1e-3
    (found,) = causes(port)
    assert "also at twin_norm" in found


def test_a_rate_of_dropout_is_compared():
    port = FlaxNet(nnx.Rngs(0))
    port.dropout.rate = 0.8
    report = compare(TorchNet(), port, X, checks=["names"])
    assert not report.ok
    assert report.causes == (
        "first divergence at dropout in train mode: "
        "dropout rate: JAX drops 0.8, PyTorch 0.2; to mend it: rate=0.2",
    )
    assert compare(TorchNet(), FlaxNet(nnx.Rngs(0)), X, checks=["names"]).ok


class OneConv(nnx.Module):
    def __init__(self, window, groups):
        self.conv = nnx.Conv(8, 8, window, feature_group_count=groups, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.conv(x)


@pytest.mark.parametrize(
    ("window", "groups", "cause"),
    [
        ((3, 5), 2, "groups: JAX convolves in 2 groups, PyTorch in 4"),
        ((5, 3), 4, "layout: the kernel's height and width are swapped"),
    ],
)
def test_the_shape_of_a_kernel_says_what_differs(window, groups, cause):
    original = nn.Sequential(OrderedDict(conv=nn.Conv2d(8, 8, (3, 5), groups=4)))
    report = compare(original, OneConv(window, groups), np.ones((1, 6, 6, 8)))
    (found,) = report.causes
    assert found.startswith(f"first divergence at conv in any mode: {cause} (conv.weight is"), found
