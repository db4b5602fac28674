"""`inspect.signature` and `help` show what a module is made with and called with."""

import pydoc
from inspect import isclass, signature

import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.models import Backbone

PUBLIC = [
    kind for kind in map(fb.__getattr__, dir(fb)) if isclass(kind) and issubclass(kind, nnx.Module)
]


@pytest.mark.parametrize("kind", [*PUBLIC, Backbone])
def test_a_class_shows_the_arguments_of_its_init(kind: type):
    _, *wanted = signature(kind.__init__).parameters.values()
    assert list(signature(kind).parameters.values()) == wanted
    assert not {"args", "kwargs", "self"} & {argument.name for argument in wanted}


def test_a_partial_shows_what_it_leaves_open():
    assert signature(fb.Conv1X1BnReLU).parameters["kernel_size"].default == 1


def test_help_shows_the_arguments():
    text = pydoc.plain(pydoc.render_doc(fb.MBConv))
    shown = text[text.index(" MBConv(") :].partition("\n |  \n")[0]
    assert "expansion: float = 4" in shown
    assert [name for name in signature(fb.MBConv).parameters if f"{name}: " not in shown] == []


class Doubled(fb.Linear):
    """A user's layer with arguments of its own."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        super().__init__(width, 2 * width, rngs=rngs)


class Same(fb.Linear):
    """A user's layer with the arguments of ours."""


def test_a_users_subclass_shows_its_own_arguments():
    assert list(signature(Doubled).parameters) == ["width", "rngs"]
    assert signature(Same) == signature(fb.Linear)


def test_a_module_shows_the_arguments_of_its_call():
    module = nnx.eval_shape(lambda: Doubled(2, rngs=nnx.Rngs(0)))
    assert list(signature(module).parameters) == list(signature(module.__call__).parameters)
