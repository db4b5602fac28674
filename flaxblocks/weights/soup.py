"""Averages of several networks' weights, known as model soups."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

StateDict = Mapping[str, np.ndarray]


def mean_weights(state_dicts: Sequence[StateDict]) -> dict[str, np.ndarray]:
    """Return the mean of each array; of integers, such as counts, the first.

    >>> mean_weights([{"weight": np.float32([1.0, 2.0])}, {"weight": np.float32([3.0, 2.0])}])
    {'weight': array([2., 2.], dtype=float32)}

    Args:
        state_dicts: of one network, trained in several ways from the same start, as `state_dict`
            returns them.

    Raises:
        ValueError: if there is none, or they have other names or shapes.
    """
    if not state_dicts:
        raise ValueError("`state_dicts` must be one or more, got none")
    first, *others = state_dicts
    for other in others:
        odd = {*_shapes(first)} ^ {*_shapes(other)}
        if odd:
            raise ValueError(f"`state_dicts` must be of one network, and differ in {min(odd)[0]}")
    return {name: _mean([state_dict[name] for state_dict in state_dicts]) for name in first}


def greedy_soup(
    state_dicts: Sequence[StateDict], judge: Callable[[StateDict], float]
) -> tuple[dict[str, np.ndarray], list[int], float]:
    """Return the mean of those that make it better, added one by one, the best first.

    Args:
        state_dicts: see `mean_weights`.
        judge: returns how good weights are, more being better.

    Returns:
        The mean, the places of what it is made of, and how good it is.

    Raises:
        ValueError: see `mean_weights`.

    Source: Wortsman et al. 2022, Model soups, algorithm 1.
    """
    mean_weights(state_dicts)
    scores = [judge(state_dict) for state_dict in state_dicts]
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    chosen, best = order[:1], scores[order[0]]
    for place in order[1:]:
        tried = [*chosen, place]
        score = judge(mean_weights([state_dicts[number] for number in tried]))
        if score >= best:
            chosen, best = tried, score
    return mean_weights([state_dicts[number] for number in chosen]), chosen, best


def _shapes(state_dict: StateDict) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, array.shape) for name, array in state_dict.items()]


def _mean(arrays: Sequence[np.ndarray]) -> np.ndarray:
    if np.issubdtype(arrays[0].dtype, np.integer):
        return arrays[0]
    return np.mean([array.astype(np.float64) for array in arrays], 0).astype(arrays[0].dtype)
