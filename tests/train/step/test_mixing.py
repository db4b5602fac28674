"""Mixup and CutMix: the shares, the boxes, and the loss of two labels."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from flaxblocks.train import CrossEntropy, Mixing, create_state, make_train_step
from tests.helpers.tolerance import bound
from tests.helpers.train_nets import batch, float64_net

BOTH = Mixing(mixup_alpha=1.0, cutmix_alpha=1.0)
KEYS = jax.random.split(jax.random.key(0), 400)
IMAGE = jnp.stack([jnp.zeros((8, 6, 1)), jnp.ones((8, 6, 1))])  # so a pixel is the other's share
BATCH = {"image": IMAGE, "label": jnp.asarray([3, 5])}


@cache
def mixed(mixing: Mixing) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each key, the first image's pixels and its own share."""
    batch = jax.jit(jax.vmap(mixing, (0, None)))(KEYS, BATCH)
    images, label = np.asarray(batch["image"]), batch["label"]
    assert np.allclose(images[:, 0] + images[:, 1], 1)
    assert label.own[0].tolist() == [3, 5] and label.other[0].tolist() == [5, 3]
    assert (label.share[:, 0] == label.share[:, 1]).all()
    return images[:, 0, ..., 0], np.asarray(label.share[:, 0])


def assert_mean(values: np.ndarray, mean: float) -> None:
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - mean) <= bound("any", "statistic of a sample") * error


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_takes_one_share_of_every_pixel(alpha: float):
    pixels, shares = mixed(Mixing(mixup_alpha=alpha))
    np.testing.assert_allclose(pixels - (1 - shares[:, None, None]), 0, atol=1e-6)
    assert_mean(shares, 0.5)
    assert_mean((shares - 0.5) ** 2, 1 / (4 * (2 * alpha + 1)))  # the variance of Beta


def test_cutmix_pastes_a_box_and_shares_by_its_area():
    pixels, shares = mixed(Mixing(cutmix_alpha=1.0))
    assert set(np.unique(pixels)) == {0.0, 1.0}
    np.testing.assert_allclose(pixels.mean((1, 2)), 1 - shares, atol=1e-6)
    for image in pixels:
        rows, columns = image.any(1), image.any(0)
        assert np.array_equal(image, np.outer(rows, columns))
        for line in (rows, columns):
            assert np.count_nonzero(np.diff(line.astype(int))) <= 2  # one piece
    assert len(np.unique(shares)) > 10


def test_a_coin_decides_between_both():
    pixels, _ = mixed(BOTH)
    is_cutmix = np.array([set(np.unique(image)) <= {0.0, 1.0} for image in pixels])
    assert_mean(is_cutmix.astype(float), 0.5)


def test_what_is_mixed_depends_on_the_key_alone():
    pixels, _ = mixed(BOTH)
    mixed.cache_clear()
    assert np.array_equal(pixels, mixed(BOTH)[0])
    assert len(np.unique(pixels, axis=0)) > len(KEYS) / 2


@pytest.mark.parametrize("alphas,message", [((0, 0), "must be above 0"), ((-1, 1), "at least 0")])
def test_refuses_what_mixes_nothing(alphas: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        Mixing(*alphas)


def test_the_loss_of_a_mixed_batch_is_pytorchs_for_the_mixed_targets(x64):
    """PyTorch is given targets as torchvision's reference makes them: rolled by one row."""
    mixing, data, smoothing = Mixing(mixup_alpha=1.0), batch(), 0.1
    optimizer = optax.sgd(0.0)
    state = create_state(float64_net(), optimizer)
    model = state.model()
    key = jax.random.fold_in(jax.random.key(7), 0)
    rows = jax.jit(mixing)(key, jax.tree.map(jnp.asarray, data))
    share = rows["label"].share[0]
    logits = torch.from_numpy(np.array(nnx.jit(lambda net, x: net(x))(model, rows["image"])))

    step = make_train_step(optimizer, mixing=mixing, loss=CrossEntropy(smoothing), seed=7)
    _, metrics = step(state, data)

    target = torch.nn.functional.one_hot(torch.from_numpy(data["label"]).long(), 10).double()
    target = float(share) * target + (1 - float(share)) * target.roll(1, 0)
    theirs = torch.nn.functional.cross_entropy(logits, target, label_smoothing=smoothing)
    assert float(metrics["loss"]) == pytest.approx(theirs.item(), rel=1e-12)
