"""Random networks: an equal port is never accused, a planted fault never missed or misnamed."""

from random import Random

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from parity import compare
from parity.diagnosis.diagnose import in_dropout, in_float64
from parity.diagnosis.sentences import sentences
from parity.sides.pairing import pair_up
from parity.sides.runs import Runs
from tests.helpers.random_nets import flax_nets, torch_nets
from tests.helpers.random_nets.description import Net, random_net
from tests.helpers.random_nets.faults import planted

pytestmark = pytest.mark.usefixtures("quick")

CHECKS = ("names", "float64", "gradients", "statistics")
PAIRS, FAULTS = 50, 200
PROGRAMS = 10  # networks whose compiled programs are kept at a time


def image(net: Net) -> np.ndarray:
    return np.random.default_rng(0).normal(size=net.shape).astype(np.float32)


def assert_never_accused(random: Random) -> None:
    """Fail where a port that is written otherwise, under other names, is not found equal."""
    net = random_net(random)
    theirs, _ = torch_nets.build(net)
    report = compare(theirs, flax_nets.build(net), image(net), names="found", checks=CHECKS)
    assert report.ok, f"{net}\n{report}"
    assert report.causes == ()


def test_an_equal_pair_is_never_accused():
    assert_never_accused(Random(1))


@pytest.mark.slow
@settings(
    max_examples=PAIRS,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(random=st.randoms(use_true_random=False))
def test_no_equal_pair_of_many_is_accused(random):
    assert_never_accused(random)


@pytest.mark.parametrize(
    "seed", [pytest.param(n, marks=() if n < 2 else pytest.mark.slow) for n in range(FAULTS)]
)
def test_a_planted_fault_is_found_named_and_placed(seed):
    random = Random(seed)
    net = random_net(random)
    plant = planted(net, random)
    theirs, paths = torch_nets.build(net)
    names = flax_nets.names(net, paths)
    runs = Runs(pair_up(theirs, flax_nets.build(net, plant.faults), names), [image(net)])
    found = list(sentences([*in_float64(runs), *in_dropout(runs)]))
    path = paths[plant.place.name]
    place = found[0].partition(" at ")[2].partition(" in ")[0].partition(" (")[0]
    assert place in (path, names.get(path)), found
    assert plant.fault.cause in found[0], found
    assert len(found) == (2 if plant.fault.name == "exchanged" else 1), found
    if seed % PROGRAMS == 0:
        jax.clear_caches()
