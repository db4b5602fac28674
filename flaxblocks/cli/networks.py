# pyright: basic
"""What the subcommands ask about a network."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import flaxblocks as fb
from flaxblocks.flops import multiply_adds
from flaxblocks.models import Backbone


def abstract_network(name: str, num_classes: int | None = None) -> Backbone:
    """Return a network in eval mode, its arrays known by shape only, without random streams.

    Raises:
        ValueError: if the name is unknown.
    """
    network = nnx.eval_shape(
        lambda: fb.create_model(
            name, num_classes=num_classes, drop_rate=0.0, drop_path_rate=0.0, rngs=nnx.Rngs(0)
        )
    )
    network.eval()
    return network


def image_shape(network: Backbone, size: int) -> jax.ShapeDtypeStruct:
    """Return a square image, its pixels unknown, as a network takes it."""
    return jax.ShapeDtypeStruct((1, size, size, network.in_features), jnp.float32)


def cost(module: nnx.Module, *inputs: jax.ShapeDtypeStruct) -> int:
    """Return the multiply-adds of a module in eval mode."""
    graphdef, state = nnx.split(module)
    return multiply_adds(lambda state, *x: nnx.merge(graphdef, state)(*x), state, *inputs)


def count(module: nnx.Module, kind: type[nnx.Variable[Any]] = nnx.Param) -> int:
    """Return how many numbers the variables of a kind have."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, kind)))
