"""A bad argument is refused at construction, by name, with what was given and what is needed."""

from functools import partial
from inspect import Parameter, signature
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb

pytestmark = pytest.mark.usefixtures("as_installed", "quick")

GOOD = {
    fb.Conv: (8, 8, 3),
    fb.BatchNorm: (8,),
    fb.ConvNormAct: (8, 8),
    fb.SqueezeExcite: (8,),
    fb.StochasticDepth: (0.5,),
    fb.BottleNeck: (8, 8),
    fb.LinearBottleNeck: (8, 8),
    fb.InvertedResidual: (8, 8),
    fb.MobileNetLikeBlock: (8, 8),
    fb.DepthWiseSeparableConv: (8, 8),
    fb.MBConv: (8, 8),
    fb.FusedMBConv: (8, 8),
}
NAN, INF = float("nan"), float("inf")
COUNT = (0, -1, 2.5, "8", None, True)
SIZE = (0, -1, 1.5, "3", (3,), (3, 3, 3), (0, 3), (3, "3"), None)
FRACTION = (-0.1, 1.1, NAN, "0.5", None)
BAD = {
    "in_features": COUNT,
    "out_features": COUNT,
    "num_features": COUNT,
    "kernel_size": SIZE,
    "stride": SIZE,
    "dilation": SIZE,
    "groups": (*COUNT, 3, 7),
    "group_size": (0, -1, 2.5, "8", True, 3, 7),
    "padding": (-1, (1, -1), 0.5, "same", (1, 1, 1), "1"),
    "conv": ("conv", 1),
    "expand": ("conv", 1, None),
    "project": ("conv", 1, None),
    "norm": ("batch", 1),
    "act": ("relu", 1),
    "final_act": ("relu", 1),
    "gate": ("sigmoid", 1, None),
    "shortcut": ("projection", 1),
    "pool": ("blur", 1),
    "se": ("se", 1),
    "spatial": ("conv", 1),
    "spatial_se": ("se", 1),
    "drop_path": FRACTION,
    "rate": FRACTION,
    "momentum": FRACTION,
    "epsilon": (-1e-9, NAN, INF, "1e-5", None),
    "ratio": (0, -1, 0.01, NAN, INF, "0.25", None),
    "squeeze_features": (0, -1, 2.5, "8"),
    "reduce_features": (0, -1, 2.5, "8", True),
    "expansion": (0, -1, 0.01, NAN, INF, "4", None),
    "reduction": (0, -1, 9, NAN, INF, "4", None),
    "hidden_features": (0, -1, 2.5, "8"),
    "rngs": (0, None, "params", (0, 1)),
}
# What NNX and JAX take as they are.
UNCHECKED = {"use_bias", "dtype", "param_dtype", "precision", "kernel_init", "bias_init"}
UNCHECKED |= {"kernel_metadata", "bias_metadata", "scale_metadata"}
UNCHECKED |= {"use_running_average", "axis_name", "always_expand", "early_stride", "residual"}


def arguments(kind: type) -> list[str]:
    """Return the names that a class's constructor takes; NNX hides them from the class itself."""
    return [name for name in signature(kind.__init__).parameters if name != "self"]


ROWS = [
    pytest.param(kind, name, value, id=f"{kind.__name__}-{name}-{value!r}")
    for kind in GOOD
    for name in arguments(kind)
    for value in BAD.get(name, ())
]


@pytest.mark.parametrize("kind,name,value", ROWS)
def test_bad_argument_is_named_with_what_was_given(kind: type, name: str, value: object):
    given = dict(zip(arguments(kind), GOOD[kind], strict=False))
    with pytest.raises((ValueError, TypeError)) as caught:
        kind(**({"rngs": nnx.Rngs(0)} | given | {name: value}))
    message = str(caught.value)
    assert f"`{name}` must " in message
    assert f"got {name}={value!r}" in message or f"got {value!r}" in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_every_argument_is_in_the_table(kind: type):
    assert set(arguments(kind)) <= BAD.keys() | UNCHECKED


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_rngs_are_the_last_argument_and_have_no_default(kind: type):
    last = list(signature(kind.__init__).parameters.values())[-1]
    assert (last.name, last.kind, last.default) == ("rngs", Parameter.KEYWORD_ONLY, Parameter.empty)
    with pytest.raises(TypeError, match="rngs"):
        kind(*GOOD[kind])


@pytest.mark.parametrize("kind", [*GOOD, fb.Linear, fb.LayerNorm, fb.Stem, fb.Head, fb.NormConv])
def test_a_key_is_no_stream(kind: type):
    given = {fb.Linear: (8, 8), fb.LayerNorm: (8,), fb.Stem: (3, (8,)), fb.Head: (8, 3)}
    with pytest.raises(TypeError, match=r"`rngs` must be nnx.Rngs, .* got an array"):
        kind(*{**GOOD, fb.NormConv: (8, 8), **given}[kind], rngs=jax.random.key(0))


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_nothing_is_swallowed(kind: type):
    """The tutorial's block took any keyword and dropped it."""
    with pytest.raises(TypeError, match="no_such_argument"):
        kind(*GOOD[kind], no_such_argument=1, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", ["block", "shortcut"])
def test_residual_add_takes_what_can_be_called(name: str):
    with pytest.raises(TypeError, match=f"`{name}` must be a callable.*, got 'conv'"):
        wrong: dict[str, Any] = {"block": nnx.relu} | {name: "conv"}
        fb.ResidualAdd(**wrong)


def test_numpy_integers_and_lists_are_integers_and_pairs():
    sizes: tuple[Any, ...] = (np.int64(4), np.int32(8), [np.int64(3), 5])
    conv = fb.Conv(*sizes, rngs=nnx.Rngs(0))
    assert conv.kernel.shape == (3, 5, 4, 8)


@pytest.mark.parametrize(
    "kind,features",
    [
        (fb.BottleNeck, (8, 8)),
        (fb.BottleNeck, (8, 16)),
        (fb.InvertedResidual, (8, 16)),
        (fb.MobileNetLikeBlock, (8, 8)),
        (fb.MBConv, (8, 8)),
        (fb.FusedMBConv, (8, 8)),
    ],
)
def test_a_branch_that_is_smaller_than_its_shortcut_is_refused(kind: type, features: tuple):
    """At 2x2 pixels the sum would be broadcast, at others fail far from the cause."""
    with pytest.raises(ValueError, match=r"`padding` must add \(1, 2\) pixels .*, got \(0, 2\)"):
        kind(*features, kernel_size=(2, 3), rngs=nnx.Rngs(0))
    block = kind(*features, kernel_size=2, dilation=2, rngs=nnx.Rngs(0))
    y = nnx.eval_shape(lambda block, x: block(x), block, jnp.ones((1, 4, 4, 8)))
    assert y.shape == (1, 4, 4, features[1])


@pytest.mark.parametrize("kind", [fb.MBConv, fb.FusedMBConv])
def test_other_padding_is_refused_only_where_there_is_a_residual(kind: type):
    with pytest.raises(ValueError, match=r"`padding` must add \(2, 2\) pixels .*, got \(0, 0\)"):
        kind(8, 8, padding=0, rngs=nnx.Rngs(0))
    assert kind(8, 8, kernel_size=4, padding="SAME", rngs=nnx.Rngs(0)).residual
    assert not kind(8, 12, kernel_size=4, padding=0, rngs=nnx.Rngs(0)).residual


BLOCKS = [kind for kind in GOOD if kind not in (fb.BatchNorm, fb.StochasticDepth)]


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: kind.__name__)
def test_nchw_is_recognized_and_its_axis_named(kind: type):
    block = kind(*GOOD[kind], rngs=nnx.Rngs(0))
    call = partial(block, jnp.ones((2, 8, 5, 5)))
    with pytest.raises(ValueError, match=r"\(2, 8, 5, 5\).*axis 1 looks like the channels"):
        call()


@pytest.mark.parametrize("shape", [(5, 5, 8), (2, 5, 5, 7), (1, 2, 5, 5, 8), (8,)])
def test_an_input_of_the_wrong_shape_is_refused(shape: tuple):
    conv = fb.Conv(8, 4, 3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, h, w, 8\), got \("):
        conv(jnp.ones(shape))


def test_batch_norm_refuses_other_channels():
    with pytest.raises(
        ValueError, match=r"`x` must have 8 channels on its last axis, got \(2, 8, "
    ):
        fb.BatchNorm(8, rngs=nnx.Rngs(0))(jnp.ones((2, 8, 5, 5)))


def test_only_one_part_has_the_stride():
    with pytest.raises(ValueError, match="`early_stride` must be False with a `pool`"):
        fb.BottleNeck(
            8, 16, stride=2, early_stride=True, pool=fb.ops.average_pool, rngs=nnx.Rngs(0)
        )
