"""`parity.compare` on a user's own modules: names, inputs, what it keeps, what it refuses."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from flax import nnx

import flaxblocks as fb
import torch_ref
from parity import Report, Row, compare
from tests.helpers import parity_pairs

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(2, 9, 11, 3)).astype(np.float32)
QUICK = ("names", "bitwise", "float64")


def weights_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def test_a_users_own_pair_is_compared_and_left_as_it_was():
    torch_module, jax_module = parity_pairs.make_torch(), parity_pairs.make_flax()
    before = weights_of(torch_module), fb.state_dict(jax_module)
    report = compare(torch_module, jax_module, X)
    assert report.ok, str(report)
    for old, new in zip(before, (weights_of(torch_module), fb.state_dict(jax_module)), strict=True):
        assert all(np.array_equal(old[name], new[name]) for name in old)
    assert any("features.1" in row.quantity for row in report.of("float64"))


def test_other_names_can_be_mapped():
    names = {"features.0": "stem.conv", "features.1": "stem.norm", "classifier": "head"}
    torch_module, jax_module = parity_pairs.make_torch(), parity_pairs.make_renamed_flax()
    report = compare(torch_module, jax_module, X, names=names)
    assert report.ok, str(report)
    assert any("stem.norm" in row.quantity for row in report.of("float64"))
    assert not compare(torch_module, jax_module, X).ok


def test_a_dictionary_may_say_a_name_alone():
    names = {"features.0": "stem.conv", "features.1": "stem.norm"}
    names |= {f"classifier.{leaf}": {"name": f"head.{leaf}"} for leaf in ("weight", "bias")}
    pair = parity_pairs.make_torch(), parity_pairs.make_renamed_flax()
    assert compare(*pair, X, names=names, checks=["names"]).ok
    wrong = {"features.0": {"name": "stem.conv"}}
    with pytest.raises(ValueError, match=r"`names`: PyTorch has no tensor 'features.0'"):
        compare(*pair, X, names=wrong, checks=["names"])


def test_weights_can_be_kept():
    torch_module = parity_pairs.make_torch()
    with torch.no_grad():
        for parameter in torch_module.parameters():
            parameter.zero_()
    report = compare(torch_module, parity_pairs.make_flax(), X, checks=["float64"], randomize=False)
    assert report.ok
    assert all(row.value == 0 for row in report.rows if "classifier" in row.quantity)


def test_a_first_convolution_may_take_a_part_of_the_image():
    sizes: Any = torch_ref.Mixed((1, 3))
    theirs = torch_ref.ConvNormAct(3, 4, sizes)
    ours = fb.ConvNormAct(3, 4, fb.Mixed((1, 3)), rngs=nnx.Rngs(0))
    report = compare(theirs, ours, X, checks=["float64"])
    assert report.ok, str(report)


def test_a_norm_that_activates_is_compared_before_it_does():
    torch_module, jax_module = torch_ref.ConvNormAct(3, 4), fb.ConvNormAct(3, 4, rngs=nnx.Rngs(0))
    report = compare(torch_module, jax_module, X, checks=["float64"])
    norms = [row for row in report.of("float64") if row.quantity.startswith("norm (")]
    assert len(norms) == 2 and all(row.ok for row in norms)  # eval and train


def test_a_degenerate_bitwise_case_fails():
    torch_module, jax_module = torch_ref.ConvNormAct(3, 8), fb.ConvNormAct(3, 8, rngs=nnx.Rngs(0))
    report = compare(torch_module, jax_module, np.zeros_like(X), checks=["bitwise"])
    assert not report.ok
    worst = report.worst("bitwise")
    assert worst is not None and "variety" in worst.quantity


def test_the_report_reads_well_and_is_json():
    report = compare(
        parity_pairs.make_torch(),
        parity_pairs.make_flax_with_another_eps(),
        X,
        checks=QUICK,
        name="mine",
    )
    text = str(report)
    assert text.startswith("mine: DIFFERENT (285 parameters in PyTorch, 285 in JAX)")
    assert "eps: JAX adds 0.001" in text
    data = json.loads(report.to_json())
    assert data["ok"] is False
    assert {row["check"] for row in data["rows"]} == set(QUICK)


def test_a_different_output_shape_is_all_that_is_said():
    class Cropped(parity_pairs.FlaxNet):
        def __call__(self, x):
            return super().__call__(x)[:, :4]

    report = compare(parity_pairs.make_torch(), Cropped(nnx.Rngs(0)), X)
    assert report.checks == ("names",)
    worst = report.worst("names")
    assert worst is not None and "(2, 5) in PyTorch, (2, 4) in JAX" in worst.detail
    assert "first divergence at the whole module" in report.causes[0]


def test_an_infinite_difference_is_null_in_json():
    report = Report("x", (Row.judged("float64", "conv", float("inf"), 1e-10),))
    assert not report.ok
    assert json.loads(report.to_json())["rows"][0]["value"] is None


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (X.transpose(0, 3, 1, 2), ["`x`", "(n, h, w, 3)", "axis 1", "NCHW"]),
        (X[0], ["`x`", "(n, h, w, 3)", "(9, 11, 3)"]),
        (X[:0], ["`x`", "finite"]),
        (np.full_like(X, np.nan), ["`x`", "finite"]),
        ([], ["`x`", "at least one"]),
        ("photo.png", ["`x`", "numbers", "'photo.png'"]),
        ((X, object), ["`x`", "numbers", "object"]),
    ],
    ids=["NCHW", "no batch", "empty", "NaN", "none", "text", "object"],
)
def test_bad_inputs_are_refused(x, words):
    with pytest.raises(ValueError) as error:
        compare(parity_pairs.make_torch(), parity_pairs.make_flax(), x)
    assert all(word in str(error.value) for word in words), error.value


def test_bad_arguments_are_refused():
    pair = parity_pairs.make_torch(), parity_pairs.make_flax()
    swapped: Any = pair[::-1]
    with pytest.raises(ValueError, match=r"`checks` must be among names, bitwise.*'color'"):
        compare(*pair, X, checks=["color"])
    with pytest.raises(ValueError, match=r"`names` must be one of"):
        compare(*pair, X, names="caffe")
    with pytest.raises(TypeError, match=r"`torch_module` must be a torch\.nn\.Module"):
        compare(swapped[0], pair[1], X)
    with pytest.raises(TypeError, match=r"`jax_module` must be a module of Flax NNX"):
        compare(pair[0], swapped[1], X)
