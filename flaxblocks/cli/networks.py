"""What the subcommands ask about a network."""

import jax
import jax.numpy as jnp
from flax import nnx

import flaxblocks as fb
from flaxblocks._base.command_line import positive as positive
from flaxblocks._base.command_line import stdout as stdout
from flaxblocks.flops import multiply_adds
from flaxblocks.models import Backbone

UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def abstract_network(name: str, num_classes: int = 1000) -> Backbone:
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


def image_preprocess(name: str, weights: str | None, size: int | None) -> fb.Preprocess:
    """Return how images are prepared for a network and its weights, at another size if given.

    Raises:
        ValueError: if the name or the weights are unknown.
    """
    preprocess = fb.create_preprocess(name, weights)
    return preprocess if size is None else preprocess.at_size(size)


def image_shape(network: Backbone, size: int) -> jax.ShapeDtypeStruct:
    """Return a square image, its pixels unknown, as a network takes it."""
    channels = network.stem.layers[0].conv.in_features
    return jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)


def cost(module: nnx.Module, x: jax.ShapeDtypeStruct) -> int:
    """Return the multiply-adds of a module in eval mode."""
    graphdef, state = nnx.split(module)
    return multiply_adds(lambda state, x: nnx.merge(graphdef, state)(x), state, x)


def count(module: nnx.Module, kind: type[nnx.Variable] = nnx.Param) -> int:
    """Return how many numbers the variables of a kind have."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, kind)))


def short(number: int) -> str:
    """Return a number with four digits and a unit.

    >>> short(4_089_184_256)
    '4.089 G'
    """
    for unit, letter in UNITS:
        if number >= unit:
            return f"{number / unit:#.4g} {letter}"
    return str(number)
