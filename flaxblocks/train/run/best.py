"""The best weights of a run, kept apart from the last ones."""

import json
from collections.abc import Mapping
from typing import Any

from flax import nnx

from flaxblocks._base.jax_internals import wait_for_processes
from flaxblocks._base.json_files import read_table
from flaxblocks._base.replacing import write_text
from flaxblocks.models import Backbone, model_info
from flaxblocks.train.run.run_folder import RunFolder
from flaxblocks.weights.card import BEST
from flaxblocks.weights.files import save_weights


class Best:
    """Keeps the weights that were best in an evaluation.

    Args:
        folder: the run's.
        metric: one of the evaluation's numbers; ``"loss"`` is better where it is less.
        step: the step that the run is resumed from: what was found later does not count.
    """

    def __init__(self, folder: RunFolder, metric: str, step: int):
        self.metric = metric
        self._folder = folder
        self._path = folder.path / "best.json"
        self._found = _read(self._path)
        wait_for_processes("read what was best")  # before the first one writes
        if self._found.get("step", 0) > step or self.metric not in self._found:
            self._found = {}

    def is_better(self, values: Mapping[str, float]) -> bool:
        """Return whether these numbers are better than the best so far."""
        if not self._found:
            return True
        new, old = values[self.metric], self._found[self.metric]
        return new < old if self.metric == "loss" else new > old

    def keep(self, network: nnx.Module, step: int, values: Mapping[str, float]) -> None:
        """Write a network that is better; only the first process writes.

        Raises:
            OSError: if it cannot be written.
        """
        self._found = {"step": step, **values}
        if self._folder.process or not isinstance(network, Backbone) or network.name is None:
            return
        names = model_info(network.name).source
        save_weights(network, self._folder.path / BEST, names=names)
        write_text(self._path, json.dumps(self._found))


def _read(path: Any) -> dict[str, Any]:
    try:
        return read_table(path)
    except (FileNotFoundError, ValueError):
        return {}
