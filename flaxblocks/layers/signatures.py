"""Modules' arguments in `help` and `inspect.signature`."""

from inspect import Signature, signature
from typing import Any


class ArgumentsOfInit:
    """A class attribute ``__signature__``: that of the class's ``__init__``, without ``self``.

    NNX's metaclass calls a class with ``*args, **kwargs``, which is all that `inspect` finds by
    itself. A subclass with an ``__init__`` of its own shows its own arguments.
    """

    def __get__(self, instance: object, owner: type) -> Signature:
        if instance is not None:  # which is called by its `__call__`
            raise AttributeError("__signature__")
        init: Any = owner.__init__
        whole = signature(init)
        arguments = list(whole.parameters.values())[1:]
        return whole.replace(parameters=arguments, return_annotation=Signature.empty)
