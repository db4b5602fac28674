"""Checkpoints that somebody broke or forged: restored as written, or refused with one sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from flaxblocks.train.run.checkpoints import DIGESTS, Checkpoints, _digest
from tests.helpers import fuzzing
from tests.helpers.tiny_training import same
from tests.train.run.test_checkpoints import states, written

__all__ = ["states", "written"]  # fixtures


def broken(source: Path, target: Path, rng: np.random.Generator) -> bool:
    """Copy checkpoints and break a file of one; return whether its digest was forged too."""
    shutil.copytree(source, target)
    step = target / "6"
    files = sorted(path for path in step.rglob("*") if path.is_file())
    path = files[rng.integers(len(files))]
    digests = json.loads((step / DIGESTS).read_text())
    if path.name == DIGESTS or (path.suffix == ".json" and rng.random() < 0.5):
        path.write_bytes(fuzzing.odd_json(json.loads(path.read_text()), rng))
    elif rng.random() < 0.1:
        path.unlink()
    else:
        path.write_bytes(fuzzing.mutated(path.read_bytes(), rng))
    name = str(path.relative_to(step))
    if path.is_file() and name in digests and rng.random() < 0.5:
        (step / DIGESTS).write_text(json.dumps(digests | {name: _digest(path)}))
        return True
    return path.parent == step and path.name != DIGESTS  # of which there is no digest


@pytest.mark.parametrize("count", [4, pytest.param(150, marks=pytest.mark.slow)])
def test_a_broken_checkpoint(count, states, written, tmp_path):
    rng = np.random.default_rng(18)
    for number in range(count):
        folder, found = tmp_path / str(number), []
        forged = broken(written, folder, rng)

        def restore(folder=folder, found=found) -> None:
            with Checkpoints(folder, keep=2) as checkpoints:
                found.append(checkpoints.restore(states[0], lambda _: None))

        said = fuzzing.outcome(restore, folder, writes=True)
        if said == "loaded" and not forged:
            state, position = found[0]
            step = int(state.step)
            assert step in (4, 6) and position == {"next_index": 10 * step}
            assert same(state, states[step])
