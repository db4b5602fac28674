"""The native kernels' entry points, called as XLA calls them: what does not fit is an error."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxblocks.ops.native.targets import target

PAIRS = {"strides": (1, 1), "low": (1, 1), "dilation": (1, 1)}
FORWARD = PAIRS | {"transposed": False, "activation": 0}
X = (1, 4, 4, 16)
NONE, NO_KERNEL = (0,), (1, 1, 0, 0)
CALLS: dict[str, dict[str, Any]] = {
    "narrow": {"arrays": [X, (3, 3, 1, 16), NONE, NONE], "result": X, **FORWARD},
    "dense": {"arrays": [X, (3, 3, 16, 16), NONE, NONE], "result": X, **FORWARD},
    "pointwise": {
        "arrays": [X, (1, 1, 16, 16), NONE, NONE], "result": X, **FORWARD, "low": (0, 0),
    },
    "narrow_kernel": {"arrays": [X, X], "result": (3, 3, 1, 16), **PAIRS},
    "dense_kernel": {"arrays": [X, X], "result": (3, 3, 16, 16), **PAIRS},
    "inverted_residual": {
        "arrays": [
            X, (1, 1, 16, 32), (32,), (3, 3, 1, 32), (32,), (1, 1, 32, 4), (4,), (1, 1, 4, 32),
            (32,), (1, 1, 32, 16), (16,),
        ],
        "result": X, **PAIRS, "activations": (0, 1, 1, 3, 0), "residual": True,
    },
    "squeeze_excite": {
        "arrays": [X, (1, 1, 16, 4), (4,), (1, 1, 4, 16), (16,)], "result": X,
        "activations": (1, 3),
    },
    "layer_norm": {"arrays": [X, (16,), (16,)], "result": X, "epsilon": np.float64(1e-5)},
    "mean": {"arrays": [X], "result": (1, 16)},
    "max_pool_gradient": {
        "arrays": [(1, 2, 2, 16), X], "result": X, "window": (3, 3), "strides": (2, 2),
        "low": (1, 1),
    },
    "max_pool": {
        "arrays": [X], "result": (1, 2, 2, 16), "window": (3, 3), "strides": (2, 2), "low": (1, 1),
    },
}  # fmt: skip


def call(name: str, dtypes: dict[int, Any] | None = None, **changes: Any) -> np.ndarray:
    """Call a kernel on arrays of ones; `changes` may replace a single array by its place."""
    call = CALLS[name] | {key: value for key, value in changes.items() if key[0] != "_"}
    shapes = list(call.pop("arrays"))
    for place in [key for key in changes if key[0] == "_"]:
        shapes[int(place[1:])] = changes[place]
    arrays = [jnp.ones(s, (dtypes or {}).get(i, jnp.float32)) for i, s in enumerate(shapes)]
    result = jax.ShapeDtypeStruct(call.pop("result"), (dtypes or {}).get(-1, jnp.float32))
    attributes = {k: np.asarray(v, np.int64) if type(v) is tuple else v for k, v in call.items()}
    if "activation" in attributes:
        attributes["activation"] = np.int64(attributes["activation"])
    return np.asarray(jax.ffi.ffi_call(target(name), result)(*arrays, **attributes))


@pytest.mark.parametrize("name", CALLS)
def test_what_fits_is_computed(name: str):
    assert np.isfinite(call(name)).all() and np.any(call(name))


CONVOLUTIONS = ("narrow", "dense", "pointwise", "narrow_kernel", "dense_kernel")
WITH_GEOMETRY = (*CONVOLUTIONS, "inverted_residual")
BIG = 2**31
REFUSED = [
    *((name, {"strides": (0, 1)}, "`strides` must be 2 positive") for name in WITH_GEOMETRY),
    *((name, {"strides": (1, BIG)}, "`strides` must be 2 positive") for name in WITH_GEOMETRY),
    *((name, {"strides": (1,)}, "`strides` must be 2 positive") for name in WITH_GEOMETRY),
    *((name, {"low": (1, 1, 1)}, "`low` must be 2") for name in WITH_GEOMETRY),
    *((name, {"dilation": (1, -1)}, "`dilation` must be 2 positive") for name in WITH_GEOMETRY),
    *((name, {"_0": (4, 4, 16)}, "4 axes") for name in WITH_GEOMETRY),
    *((name, {"_0": (2, 4, 4, 16)}, "as many images") for name in WITH_GEOMETRY),
    *((name, {"_0": (1, 4, 4, 15)}, "group|inputs|residual") for name in WITH_GEOMETRY),
    *((name, {"activation": 8}, "`activation` is none") for name in CONVOLUTIONS[:3]),
    *((name, {"activation": -1}, "`activation` is none") for name in CONVOLUTIONS[:3]),
    *((name, {"_2": (15,)}, "the bias must have") for name in CONVOLUTIONS[:3]),
    *((name, {"_3": (1, 4, 5, 16)}, "the residual must have") for name in CONVOLUTIONS[:3]),
    *((name, {"result": (1, 4, 4, 17)}, "the outputs must be") for name in CONVOLUTIONS[:3]),
    # A group that there is no kernel for wrote nothing once.
    ("narrow", {"_1": (3, 3, 2, 16)}, "a group must have 1, 4 or 8"),
    ("narrow_kernel", {"result": (3, 3, 2, 16)}, "a group must have 1, 4 or 8"),
    ("narrow", {"_1": (3, 3, 1, 32), "result": (1, 4, 4, 32)}, "as many outputs as inputs"),
    ("dense", {"_1": (3, 3, 16, 3), "result": (1, 4, 4, 3)}, "must fill a vector"),
    ("dense_kernel", {"_1": (1, 4, 4, 3), "result": (3, 3, 16, 3)}, "must fill a vector"),
    ("pointwise", {"_1": (3, 3, 16, 16)}, "a dense 1x1"),
    ("pointwise", {"strides": (2, 1)}, "every pixel must stay"),
    ("pointwise", {"result": (1, 4, 5, 16)}, "every pixel must stay"),
    ("inverted_residual", {"activations": (0, 1, 1, 3)}, "5 activations"),
    ("inverted_residual", {"activations": (0, 1, 1, 9, 0)}, "`activation` is none"),
    ("inverted_residual", {"low": (-1, 1)}, "must not crop"),
    ("inverted_residual", {"result": (1, 4, 4, 24), "_9": (1, 1, 32, 24), "_10": (24,)},
     "the residual must have"),
    ("squeeze_excite", {"_0": (4, 4, 16)}, "4 axes and one shape"),
    ("squeeze_excite", {"_0": (1, 4, 5, 16)}, "4 axes and one shape"),
    ("squeeze_excite", {"_1": (1, 1, 15, 4)}, "the gate must go from the inputs"),
    ("squeeze_excite", {"_1": NO_KERNEL, "_2": NONE}, "the gate must have channels"),
    ("squeeze_excite", {"_3": (1, 1, 4, 17), "_4": (17,)}, "the gate must go from its channels"),
    ("squeeze_excite", {"activations": (1, 3, 1)}, "2 activations"),
    ("squeeze_excite", {"activations": (1, -1)}, "`activation` is none"),
    ("layer_norm", {"_0": (1, 4, 5, 16)}, "one shape"),
    ("layer_norm", {"_0": (), "result": ()}, "an axis of channels"),
    ("layer_norm", {"_1": (15,)}, "a number for each channel"),
    ("layer_norm", {"_2": NONE}, "a number for each channel"),
    ("layer_norm", {"epsilon": np.float64(-1)}, "`epsilon` must be at least 0"),
    ("max_pool_gradient", {"result": (1, 4, 5, 16)}, "must have one shape"),
    ("max_pool_gradient", {"_0": (1, 2, 2, 17)}, "as many images and channels"),
    ("max_pool_gradient", {"window": (3, 3, 3)}, "`window` must be 2 positive"),
    ("mean", {"_0": (4, 4, 16)}, "4 axes"),
    ("mean", {"result": (1, 1, 1, 16)}, "their means 2"),
    ("mean", {"result": (2, 16)}, "a mean for each channel"),
    ("mean", {"_0": (1, 0, 4, 16)}, "an image must have pixels"),
    ("max_pool", {"_0": (4, 4, 16)}, "4 axes"),
    ("max_pool", {"_0": (2, 4, 4, 16)}, "as many images and channels"),
    ("max_pool", {"result": (1, 2, 2, 17)}, "as many images and channels"),
    ("max_pool", {"window": (0, 3)}, "`window` must be 2 positive"),
    ("max_pool", {"strides": (2, 0)}, "`strides` must be 2 positive"),
    ("max_pool", {"low": (1, BIG)}, "`low` must be 2"),
    ("max_pool", {"_0": (1, 4, 4, 3), "result": (1, 2, 2, 3)}, "must fill a vector"),
    ("inverted_residual", {"_1": (1, 1, 16, 31)}, "the expansion must go"),
    ("inverted_residual", {"_1": NO_KERNEL, "_2": NONE}, "without an expansion"),
    ("inverted_residual", {"_3": (3, 3, 2, 32)}, "one filter for each channel"),
    ("inverted_residual", {"_4": (31,)}, "the depthwise bias"),
    ("inverted_residual", {"_5": NO_KERNEL, "_6": NONE}, "both of its layers"),
    ("inverted_residual", {"_7": (1, 1, 5, 32)}, "the gate must go"),
    ("inverted_residual", {"_9": (1, 1, 31, 16)}, "the projection must go"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "match"), REFUSED, ids=lambda v: str(v)[:40])
def test_what_does_not_fit_is_refused(name: str, changes: dict, match: str):
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"flaxblocks: .*({match})"):
        call(name, **changes)


@pytest.mark.parametrize("name", CALLS)
def test_other_dtypes_are_refused(name: str):
    with pytest.raises(jax.errors.JaxRuntimeError, match="must be float32 or float64"):
        call(name, {i: jnp.float16 for i in range(-1, 11)})
    with pytest.raises(jax.errors.JaxRuntimeError, match="all arrays must have one dtype"):
        call(name, {-1: jnp.float16})
    if len(CALLS[name]["arrays"]) > 1:
        with pytest.raises(jax.errors.JaxRuntimeError, match="all arrays must have one dtype"):
            call(name, {1: jnp.float16})


@pytest.mark.parametrize("name", CALLS)
def test_no_images(name: str):
    """Nothing is written, and a gradient is zero."""
    result = (0, *CALLS[name]["result"][1:])
    empty: dict[str, Any] = {"_0": (0, *CALLS[name]["arrays"][0][1:])}
    if name in ("narrow_kernel", "dense_kernel"):
        assert not call(name, **empty, _1=(0, 4, 4, 16)).any()
    elif name == "max_pool_gradient":
        assert call(name, **empty, _1=result, result=result).shape == result
    else:
        assert call(name, **empty, result=result).shape == result


@pytest.mark.parametrize("gated", [False, True])
def test_memory_that_runs_out_on_a_pool_thread_is_an_error(gated: bool):
    """The dilation asks for rows of 2**31 pixels, which each thread would keep."""
    gate = {} if gated else {"_5": NO_KERNEL, "_6": NONE, "_7": NO_KERNEL, "_8": NONE}
    wide = {"_1": (1, 1, 16, 4096), "_2": (4096,), "_3": (3, 3, 1, 4096), "_4": (4096,)}
    wide |= {"_9": (1, 1, 4096, 16)}
    if gated:
        wide |= {"_5": (1, 1, 4096, 4), "_7": (1, 1, 4, 4096), "_8": (4096,)}
    for _ in range(2):  # and the pool still works
        with pytest.raises(jax.errors.JaxRuntimeError, match="flaxblocks: out of memory"):
            call("inverted_residual", **gate, **wide, dilation=(1, BIG - 1))
    assert np.isfinite(call("inverted_residual")).all()
