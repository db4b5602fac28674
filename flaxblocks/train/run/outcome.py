# pyright: reportUnknownMemberType=false
"""What a finished run leaves for others: its weights and their card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import jax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flaxblocks._base.command_line import versions
from flaxblocks.models import Backbone, model_info
from flaxblocks.preprocess import Preprocess
from flaxblocks.train.data.source import Source
from flaxblocks.train.run.run_folder import RunFolder
from flaxblocks.train.step.state import TrainState
from flaxblocks.weights.card import Card
from flaxblocks.weights.files import save_weights

PACKAGES = ("flaxblocks", "jax", "flax", "optax", "numpy", "pillow")


@dataclass(frozen=True)
class Outcome:
    """What is known about a finished run beside its network.

    Args:
        images: what it was trained on, for the classes' names.
        preprocess: how images are prepared.
        settings: what the result depends on.
        metrics: of the last evaluation.
    """

    images: Source
    preprocess: Preprocess
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]

    def write(self, folder: RunFolder, network: nnx.Module) -> None:
        """Write the weights, and the card with which `load_run` finds and uses them.

        The first process writes. A network that `create_model` did not name has no card, and
        nothing is written.

        Args:
            folder: the run's.
            network: the trained one, see `trained`.

        Raises:
            OSError: if a file cannot be written.
        """
        if folder.process or not isinstance(network, Backbone) or network.name is None:
            return
        card = Card(
            network.name,
            num_classes=network.num_classes,
            preprocess=self.preprocess,
            names=model_info(network.name).source,
            classes=class_names(self.images, network.num_classes),
            in_features=network.in_features,
            recipe=self.settings,
            versions=versions(PACKAGES),
            metrics=self.metrics,
        )
        save_weights(network, folder.path / card.weights, names=card.names)
        card.write(folder.path)


def class_names(images: Source, outputs: int) -> tuple[str, ...]:
    """Return what the outputs are called; those that no image is of are called by number."""
    known: tuple[str, ...] = tuple(getattr(images, "classes", ()))
    return known + tuple(map(str, range(len(known), outputs))) if known else ()


def trained(mesh: Mesh, state: TrainState) -> nnx.Module:
    """Return the network of a state, or its moving average, whole on each device.

    Every process must call it.
    """
    whole = NamedSharding(mesh, PartitionSpec())
    gathered = cast(TrainState, jax.jit(_same, out_shardings=whole)(state))
    return gathered.model(average=state.average is not None)


def _same(state: TrainState) -> TrainState:
    return state
