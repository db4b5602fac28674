"""What training costs in memory; `tests.helpers.train_overhead` times a step."""

from functools import partial

import numpy as np
import optax
import pytest
from flax import nnx

from flaxblocks.blocks import Head, MBConv, Stem
from flaxblocks.models import Architecture, Backbone, Initialization, StageRow
from flaxblocks.train import create_state, make_train_step
from tests.helpers.typed import present

NETWORK = Architecture(  # six stages of one block each
    stem=partial(Stem, features=(32,)),
    stages=(StageRow(32, 1, (MBConv,)),) * 6,
    head=Head,
    initialization=Initialization(),
)


def temporary_bytes(*, accumulate: int = 1, rematerialize: bool = False) -> int:
    """Return what a step of six blocks needs beside its state and its batch."""
    optimizer = optax.sgd(0.1, momentum=0.9)
    model = nnx.jit(lambda: Backbone(NETWORK, num_classes=10, rngs=nnx.Rngs(0)))()
    model.set_rematerialization(rematerialize)
    batch = {"image": np.ones((16, 32, 32, 3), np.float32), "label": np.zeros(16, np.int32)}
    step = make_train_step(optimizer, accumulate=accumulate)
    analysis = step.lower(create_state(model, optimizer), batch).compile().memory_analysis()
    return present(analysis).temp_size_in_bytes


@pytest.mark.slow
def test_accumulation_saves_memory():
    whole, parts = temporary_bytes(), temporary_bytes(accumulate=4)
    print(f"{whole / 2**20:.1f} MiB whole, {parts / 2**20:.1f} in four parts")
    assert parts < whole / 3


@pytest.mark.slow
def test_rematerialization_saves_memory():
    """One block's arrays, and between the blocks the narrow maps, in place of all six blocks'."""
    kept, again = temporary_bytes(), temporary_bytes(rematerialize=True)
    print(f"{kept / 2**20:.1f} MiB kept, {again / 2**20:.1f} computed again")
    assert again < kept / 3
