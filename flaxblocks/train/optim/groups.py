# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
"""Parameter groups: other optimizers, or other learning rates, for parts of a network."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

import jax
import optax
from flax.nnx import filterlib

from flaxblocks._base import checks
from flaxblocks.train.step.filters import Filter, Path

LayersOf = Callable[[Sequence[Path]], Sequence[Any]]
"""Takes the paths of all parameters and returns each one's layer, as anything that sorts from the
input to the output."""


def selected_by(chosen: Filter) -> Callable[[Any], Any]:
    """Return a mask for optax: of a tree of parameters, whether the filter selects each one.

    >>> decay = optax.add_decayed_weights(1e-4, selected_by(lambda path, value: value.ndim > 1))
    >>> slower = optax.masked(optax.scale(0.1), selected_by(fb.train.under("stem")))

    Args:
        chosen: a filter of ``(path, array)``, such as `under`.
    """
    predicate = filterlib.to_predicate(chosen)
    return lambda params: _map(predicate, params)


def parameter_groups(
    *groups: tuple[Filter, optax.GradientTransformation],
) -> optax.GradientTransformation:
    """Update each parameter by the first group whose filter selects it.

    >>> optimizer = parameter_groups(
    ...     (lambda path, value: value.ndim < 2, optax.adamw(1e-3, weight_decay=0.0)),
    ...     (fb.train.under("head"), optax.adamw(1e-2, weight_decay=0.05)),
    ...     (..., optax.adamw(1e-3, weight_decay=0.05)),
    ... )

    Args:
        groups: pairs of a filter of ``(path, array)``, and the transformation of the parameters
            that it selects.

    Raises:
        ValueError: by `init`, if no filter selects a parameter.
    """
    predicates = [filterlib.to_predicate(chosen) for chosen, _ in groups]

    def group_of(path: Path, value: Any) -> Hashable:
        for number, selects in enumerate(predicates):
            if selects(path, value):
                return number
        raise ValueError(
            f"`groups` must select every parameter, got none for {'.'.join(map(str, path))}"
        )

    updates: dict[Hashable, Any] = {number: update for number, (_, update) in enumerate(groups)}
    return optax.partition(updates, lambda params: _map(group_of, params))


def backbone_layers(paths: Sequence[Path]) -> list[tuple[int, ...]]:
    """Return each parameter's layer in one of our networks: a `LayersOf`.

    The layers are, as in timm, the stem, each block, and the head; a stage's downsampling belongs
    to its first block, and a convolution in the head to the last block.

    Raises:
        ValueError: if the network has neither stages nor a head.
    """
    if not {"stages", "head"} & {path[0] for path in paths}:
        raise ValueError(
            "`layers_of` must be given for a network without `stages` and `head`, got parameters "
            f"such as {'.'.join(map(str, paths[0]))}"
        )

    def layer(path: Path) -> tuple[int, ...]:
        if path[0] == "stem":
            return (0,)
        if path[0] == "stages":
            return (1, path[1], path[3] if path[2] == "blocks" else 0)
        return last_block if path[:2] == ("head", "conv") else (3,)

    blocks = [layer(path) for path in paths if path[0] == "stages"]
    last_block = max(blocks, default=(2,))
    return [layer(path) for path in paths]


def scale_layers(
    decay: float, layers_of: LayersOf = backbone_layers
) -> optax.GradientTransformation:
    """Scale each layer's update by `decay` to the power of the number of layers above it.

    Chained after an optimizer it is layer-wise learning-rate decay: the last layer keeps its
    learning rate, and each layer before it learns more slowly than the next. The layers are
    counted over the parameters that are trained.

    >>> optimizer = optax.chain(optax.adamw(1e-3), scale_layers(0.75))

    Args:
        decay: factor from each layer to the one before it.
        layers_of: finds the layers.

    Raises:
        TypeError: if `decay` is not a number.
        ValueError: if it does not lie between 0 and 1.

    Source: Clark et al. 2020, ELECTRA, section 3.2; timm's `param_groups_layer_decay`.
    """
    checks.fraction("decay", decay)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        leaves = cast("list[tuple[Any, Any]]", jax.tree.leaves_with_path(updates))
        paths = [_plain(path) for path, _ in leaves]
        layers = layers_of(paths)
        above = {layer: count for count, layer in enumerate(sorted(set(layers), reverse=True))}
        scales = {path: decay ** above[layer] for path, layer in zip(paths, layers, strict=True)}
        return _map(lambda path, leaf: leaf * scales[path], updates), state

    def init(params: Any) -> optax.OptState:
        return optax.EmptyState()

    return optax.GradientTransformation(init, update)


def _map(function: Callable[[Path, Any], Any], params: Any) -> Any:
    def of_leaf(path: Any, leaf: Any) -> Any:
        return function(_plain(path), leaf)

    return jax.tree.map_with_path(of_leaf, params)


def _plain(path: Any) -> Path:
    """Return the keys of nested dictionaries, without JAX's wrappers."""
    return tuple(entry.key for entry in path)
