"""What a test knows of a value and its type does not say."""

from typing import TypeVar

import numpy as np
import torch

T = TypeVar("T")


def present(value: T | None) -> T:
    """Return a value that is not None."""
    assert value is not None
    return value


def instance(value: object, kind: type[T]) -> T:
    """Return a value of this class."""
    assert isinstance(value, kind)
    return value


def gradient_of(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's gradient."""
    return present(tensor.grad).numpy()
