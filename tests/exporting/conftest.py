from functools import cache

import pytest
from flax import nnx

import flaxblocks as fb
from tests.helpers.exported import SMALL, SMALL_RECORD, randomized


@pytest.fixture(autouse=True)
def _small_network(quick):
    """Compile quickly: what a program computes is compared to a bound, not to the bit."""
    fb.register_model(SMALL_RECORD)


@pytest.fixture
def network(_small_network) -> nnx.Module:
    """Return a network of 7 classes; tests share it, so leave it as it is."""
    return _made()


@cache
def _made() -> nnx.Module:
    return randomized(fb.create_model(SMALL, num_classes=7, rngs=nnx.Rngs(0)))
