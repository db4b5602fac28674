"""What a user hands in as the two sides, brought to a PyTorch module and an NNX module."""

import sys
from typing import Any, cast

import torch
from flax import linen, nnx
from torch import nn

from parity.sides.called import Called
from parity.sides.calls import Input
from parity.sides.exported import Exported
from parity.sides.fitting import check_fits, naming_input
from parity.sides.frame import Frame
from parity.sides.image import check_image
from torch_ref.harness.passes import dtype_of


def torch_side(given: Any, x: Input) -> nn.Module:
    """Return a module, a function, a TorchScript or an exported program as a module.

    Args:
        given: what stands for PyTorch's side.
        x: what it is called with.

    Raises:
        TypeError: if it is none of these.
        ValueError: if it cannot be called with this.
    """
    if isinstance(given, torch.export.ExportedProgram):
        module: nn.Module = Exported.of(given)
    elif isinstance(given, nn.Module):
        module = given
    elif isinstance(given, nnx.Module) or not callable(given):
        raise TypeError(
            "`torch_module` must be a torch.nn.Module, a function, a TorchScript or an exported "
            f"program, got {type(given)}"
        )
    else:
        module = Called(given)
    check_image(module, x)
    check_fits(module, x)
    if isinstance(module, torch.jit.ScriptModule):
        args, kwargs = Frame.of(module, x).tensors(x, dtype_of(module))
        return Exported.of_script(module, args, kwargs)
    return module


def jax_side(given: Any, x: Input) -> nnx.Module:
    """Return a network of NNX, Linen, Equinox or Keras, or a function, as an NNX module.

    Args:
        given: a module of NNX, Linen, Equinox or Keras; or a pair: of a Linen module and its
            variables, an Equinox module and its state, a function ``apply(params, x)`` and its
            parameters.
        x: what it is called with.

    Raises:
        TypeError: if it is none of these.
        ValueError: if it cannot be called with this.
    """
    one = not isinstance(given, tuple) or len(cast(tuple[Any, ...], given)) != 2
    known, more = cast(tuple[Any, Any], (given, None) if one else given)
    if isinstance(known, nnx.Module) and more is None:
        return known
    if isinstance(known, linen.Module):
        from parity.sides.ports import linen_port

        with naming_input(x):
            return linen_port.as_port(known, more, x)
    module: Any = known
    if _is("equinox", "Module", module):
        from parity.sides.ports import equinox_port

        return equinox_port.as_port(module, more)
    if _is("keras", "Model", module) and more is None:
        from parity.sides.ports import keras_port

        return keras_port.as_port(module)
    if callable(module) and more is not None and not isinstance(module, nn.Module):
        from parity.sides.ports import function_port

        return function_port.as_port(module, more)
    raise TypeError(
        "`jax_module` must be a module of Flax NNX, Flax Linen, Equinox or Keras, or a function "
        f"and its parameters, got {type(cast(object, given))}"
    )


def _is(package: str, kind: str, value: object) -> bool:
    """Return whether a value is of a package's kind, which is only imported where it is used."""
    found = sys.modules.get(package)
    return found is not None and isinstance(value, getattr(found, kind))
