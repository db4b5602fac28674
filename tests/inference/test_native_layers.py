"""Gates and layer normalizations as native kernels: the same function."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks import activations, ops
from flaxblocks.layers.squeeze_excite import SqueezeNormExcite
from tests.helpers.arrays import assert_close
from tests.helpers.folded import M, randomized, run
from tests.helpers.typed import present

pytestmark = pytest.mark.usefixtures("xla_forms")

KERNELS = re.compile(r"@flaxblocks_(\w+?)_[0-9a-f]{8}\b")


def ready(module: M) -> M:
    return fb.for_inference(randomized(module))


def draw(*shape: int, dtype=jnp.float64) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).standard_normal(shape), dtype)


def called(module: nnx.Module, x: jax.Array) -> list[str]:
    return KERNELS.findall(jax.jit(module).lower(x).as_text())


excite = partial(fb.SqueezeExcite, squeeze_features=5, param_dtype=jnp.float64)

GATES = {
    "one pixel": ((1, 1, 1, 8), {}),
    "few channels": ((2, 3, 5, 3), {}),
    "an image's channels shared": ((1, 40, 41, 40), {"act": activations.silu}),
    "more images than threads": ((5, 31, 23, 37), {"gate": activations.hard_sigmoid}),
}


@pytest.mark.parametrize("name", GATES)
def test_each_gate_is_the_same_function(name: str, x64):
    shape, options = GATES[name]
    gate, x = ready(excite(shape[3], **options, rngs=nnx.Rngs(0))), draw(*shape)
    truth = run(gate, x)
    with ops.convolution("native"):
        assert called(gate, x) == ["squeeze_excite"]
        assert_close(run(gate, x), truth)
        np.testing.assert_array_equal(x, draw(*shape))  # what is gated in place is a copy


def test_a_gate_with_a_norm_is_one_when_it_is_folded(x64):
    make = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    gate, x = randomized(SqueezeNormExcite(8, squeeze_features=4, **make)), draw(2, 5, 6, 8)
    gate.eval()
    with ops.convolution("native"):
        assert "squeeze_excite" not in called(gate, x)
        fast = fb.for_inference(gate)
        assert called(fast, x) == ["squeeze_excite"]
        assert_close(run(fast, x), run(gate, x))


class Doubled(fb.SqueezeExcite):
    """A gate that somebody changed."""

    def squeeze(self, y):
        return 2 * super().squeeze(y)


@pytest.mark.parametrize(
    ("kind", "options", "dtype"),
    [
        (Doubled, {}, jnp.float64),
        (fb.SqueezeExcite, {"gate": jnp.tanh}, jnp.float64),
        (fb.SqueezeExcite, {"dtype": jnp.float32}, jnp.float64),
        (fb.SqueezeExcite, {}, jnp.bfloat16),
    ],
)
def test_other_gates_stay_as_they_are(kind: type[fb.SqueezeExcite], options: dict, dtype, x64):
    gate = kind(8, squeeze_features=4, **options, param_dtype=dtype, rngs=nnx.Rngs(0))
    gate, x = ready(gate), draw(2, 5, 6, 8, dtype=dtype)
    with ops.convolution("native"):
        assert "squeeze_excite" not in called(gate, x)


@pytest.mark.parametrize("shape", [(1, 1), (2, 15), (7, 16), (2, 3, 5, 70), (1, 2, 9, 768)])
def test_each_layer_norm_is_the_same_function(shape: tuple[int, ...], x64):
    norm = fb.LayerNorm(shape[-1], param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    norm, x = ready(norm), draw(*shape) + 3
    truth = run(norm, x)
    with ops.convolution("native"):
        assert called(norm, x) == ["layer_norm"]
        assert_close(run(norm, x), truth)


@pytest.mark.parametrize(("center", "width"), [(0, 1), (1000, 0.01), (-1e-20, 1e-25)])
def test_float32_is_as_close_to_the_truth(center: float, width: float, x64):
    """Where the mean is large, too: the variance is not a difference of squares."""
    norm = ready(fb.LayerNorm(70, rngs=nnx.Rngs(0)))
    x = (center + width * draw(40, 70)).astype(jnp.float32)
    exact = jax.tree.map(lambda a: a.astype(jnp.float64), norm)
    truth = run(exact, x.astype(jnp.float64))
    theirs = np.abs(run(norm, x) - truth).max()
    with ops.convolution("native"):
        assert called(norm, x) == ["layer_norm"]
        ours = np.abs(run(norm, x) - truth).max()
    assert ours <= max(2 * theirs, 2 * np.spacing(np.float32(np.abs(truth).max())))


def test_layer_norms_with_a_mask_or_another_dtype_stay_as_they_are(x64):
    norm = ready(fb.LayerNorm(8, param_dtype=jnp.float64, rngs=nnx.Rngs(0)))
    half = ready(fb.LayerNorm(8, dtype=jnp.float32, param_dtype=jnp.float64, rngs=nnx.Rngs(0)))
    x, mask = draw(3, 8), jnp.arange(8) < 5
    with ops.convolution("native"):
        assert called(half, x) == []
        masked = jax.jit(lambda x: norm(x, mask=mask))
        assert KERNELS.findall(masked.lower(x).as_text()) == []
        few = jnp.asarray(x[:, :5])
        mean, deviation = few.mean(1, keepdims=True), jnp.sqrt(few.var(1, keepdims=True) + 1e-5)
        truth = (x - mean) / deviation * present(norm.scale)[...] + present(norm.bias)[...]
        assert_close(masked(x), truth)


def test_an_empty_batch():
    gate, norm = (
        ready(fb.SqueezeExcite(8, rngs=nnx.Rngs(0))),
        ready(fb.LayerNorm(8, rngs=nnx.Rngs(0))),
    )
    with ops.convolution("native"):
        for module in (gate, norm):
            assert run(module, jnp.ones((0, 5, 6, 8), jnp.float32)).shape == (0, 5, 6, 8)
