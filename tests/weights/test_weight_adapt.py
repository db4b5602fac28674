"""Checkpoints for networks with other classes or other input channels."""

from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import timm
import torch
from flax import nnx

import flaxblocks as fb
from flaxblocks.weights.state_dict import NAMES
from tests.helpers.networks import abstract as published
from tests.helpers.networks import each_family
from tests.helpers.weight_files import abstract, arrays, assert_equal, network

HEAD = {"native": "head.classifier", "torchvision": "fc", "timm": "fc"}
STEM = "stem.layers.0.conv.weight"


def load(module: nnx.Module, given: dict, how: str, folder: Path, **arguments) -> None:
    """Load a state dict directly or by way of a file."""
    if how == "state dict":
        fb.load_state_dict(module, given, **arguments)
        return
    torch.save({k: torch.from_numpy(v) for k, v in given.items()}, folder / "a.pth")
    fb.load_weights(module, folder / "a.pth", **arguments)


both_ways = pytest.mark.parametrize("how", ["state dict", "file"])


@both_ways
@pytest.mark.parametrize("names", NAMES)
def test_a_new_head_is_the_networks_own_and_the_rest_the_checkpoints(
    names: str, how: str, tmp_path: Path
):
    target = network(seed=1, num_classes=7)
    before = fb.state_dict(target, names)
    given = arrays(abstract(num_classes=10), names)
    with pytest.raises(ValueError, match=rf"misshapen {HEAD[names]}\.weight"):
        load(target, given, how, tmp_path, names=names)

    load(target, given, how, tmp_path, names=names, new_head=True)

    after = fb.state_dict(target, names)
    head = {f"{HEAD[names]}.weight", f"{HEAD[names]}.bias"}
    assert head < after.keys()
    for name, value in after.items():
        np.testing.assert_array_equal(value, (before if name in head else given)[name], name)


def test_a_new_head_is_kept_even_where_the_checkpoints_would_fit():
    target = network(seed=1)
    before = fb.state_dict(target)
    given = arrays(abstract())
    fb.load_state_dict(target, given, new_head=True)
    head = {name: before[name] for name in given if name.startswith("head.classifier")}
    assert len(head) == 2
    assert_equal(target, given | head)


def test_a_checkpoint_without_a_head_serves_a_new_head():
    target = network(seed=1)
    given = {k: v for k, v in arrays(abstract()).items() if not k.startswith("head")}
    with pytest.raises(ValueError, match=r"missing head\.classifier\.weight"):
        fb.load_state_dict(target, given)
    fb.load_state_dict(target, given, new_head=True)
    after = fb.state_dict(target)
    assert all(np.array_equal(after[name], value) for name, value in given.items())


@each_family
def test_head_and_stem_of_every_family_are_found(name: str):
    """A network without a classifier leaves out the checkpoint's; its stem reads gray images."""
    given = arrays(published(name), "torchvision")
    target = nnx.eval_shape(
        lambda: fb.create_model(name, num_classes=0, in_features=1, rngs=nnx.Rngs(0))
    )
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        fb.load_state_dict(target, given, "torchvision", adapt_stem=True)
    assert len(str(caught.value).splitlines()) == 3  # the classifier's weight and bias
    fb.load_state_dict(target, given, "torchvision", new_head=True, adapt_stem=True)
    loaded = fb.state_dict(target, "torchvision")
    assert len(loaded) == len(given) - 2
    changed = {key for key, value in loaded.items() if not np.array_equal(value, given[key])}
    kernel = target.stem.layers[0].conv.kernel[...]
    assert kernel.shape[2] == 1 and jnp.isfinite(kernel).all()
    assert [loaded[key].shape for key in changed] == [(kernel.shape[3], 1, *kernel.shape[:2])]


def test_an_abstract_network_has_no_head_to_keep():
    with pytest.raises(ValueError, match=r"`new_head` keeps the classifier .* abstract"):
        fb.load_state_dict(abstract(num_classes=7), arrays(abstract()), new_head=True)


@both_ways
@pytest.mark.parametrize("in_features", [1, 2, 3, 4, 6, 7])
def test_a_stem_of_rgb_is_adapted_by_timms_rule(in_features: int, how: str, tmp_path: Path):
    given = arrays(abstract())
    target = abstract(in_features=in_features)
    if in_features != 3:
        with pytest.raises(ValueError, match=r"misshapen stem\.layers\.0\.conv\.weight"):
            load(target, given, how, tmp_path)
    load(target, given, how, tmp_path, adapt_stem=True)
    kernel = torch.from_numpy(given[STEM])
    truth = timm.models.adapt_input_conv(in_features, kernel).numpy()
    after = fb.state_dict(target)
    np.testing.assert_allclose(after[STEM], truth, rtol=2e-7)
    assert_equal(target, given | {STEM: after[STEM]})


def test_a_narrow_stem_is_adapted_in_float32_and_rounded_once():
    kernel = torch.rand(8, 3, 7, 7, generator=torch.Generator().manual_seed(0)).bfloat16()
    given = {**arrays(abstract()), STEM: kernel}
    target = abstract(in_features=1)
    fb.load_state_dict(target, given, adapt_stem=True)
    truth = timm.models.adapt_input_conv(1, kernel).float().numpy()
    np.testing.assert_array_equal(fb.state_dict(target)[STEM], truth)
    assert not np.array_equal(truth, kernel.float().sum(1, keepdim=True).numpy())
    assert np.array_equal(truth, truth.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_a_stem_that_does_not_read_rgb_is_not_adapted():
    given = arrays(abstract(in_features=5))
    target = abstract(in_features=4)
    with pytest.raises(ValueError, match=r"`adapt_stem` adapts kernels of 3 channels to 4, got 5"):
        fb.load_state_dict(target, given, adapt_stem=True)


def test_a_checkpoint_without_the_stem_is_still_refused():
    given = {k: v for k, v in arrays(abstract()).items() if k != STEM}
    with pytest.raises(ValueError, match=r"missing stem\.layers\.0\.conv\.weight"):
        fb.load_state_dict(abstract(), given, adapt_stem=True)


@pytest.mark.parametrize("argument", ["new_head", "adapt_stem"])
def test_a_block_has_neither_head_nor_stem(argument: str):
    block = fb.Conv(3, 4, 3, rngs=nnx.Rngs(0))
    load = partial(fb.load_state_dict, block, fb.state_dict(block))
    with pytest.raises(ValueError, match=rf"`{argument}` needs a network .* got Conv"):
        wrong: dict[str, Any] = {argument: True}
        load(**wrong)
