"""A part of a network beside PyTorch's: what comes out of it, and its gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from timm.layers.blur_pool import BlurPool2d

import flaxblocks as fb
from parity import compare
from parity.checks import measure
from parity.checks.tolerance import bound
from parity.sides.weights import randomize
from tests.helpers.typed import present
from torch_ref.harness.exact_gradients import ExactGradients
from torch_ref.harness.layout import from_nhwc


@nnx.jit
def gradients(
    module: nnx.Module, x: jax.Array, weights: jax.Array
) -> tuple[jax.Array, nnx.State, jax.Array]:
    """Return the output in train mode, and its weighted sum's gradients by parameter and input."""

    def loss(net: nnx.Module, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = net(x)
        return (y * weights).sum(), y

    grads, y = nnx.grad(loss, argnums=(0, 1), has_aux=True)(module, x)
    return y, *grads


def assert_equal(
    ours: object, truth: torch.Tensor, quantity: str, name: str = "", least: float = 0.0
) -> None:
    """Fail unless an array is PyTorch's to float64's rounding.

    Args:
        ours: the array.
        truth: PyTorch's.
        quantity: what it is, such as ``"gradient"``, see `parity.checks.tolerance`.
        name: what the message says.
        least: the size that errors are measured by where the array's own is smaller.
    """
    value, expected = np.asarray(ours), truth.detach().numpy()
    assert value.dtype == expected.dtype == np.float64
    scale = max(np.abs(expected).max(), least)
    assert measure.scaled_error(value, expected, scale) <= bound("float64", quantity), name


def assert_part_is_timms(
    make: Callable[..., nnx.Module],
    make_torch: Callable[[], torch.nn.Module],
    shape: tuple[int, int, int, int],
) -> None:
    """Fail unless a part is timm's: its names, output, gradients and statistics, in train mode.

    Args:
        make: makes ours: ``make(param_dtype=, rngs=)``.
        make_torch: makes timm's.
        shape: shape ``(n, h, w, c)`` of the input.
    """
    rng = np.random.default_rng(0)
    twin = make_torch().double()
    blurs = [m.get_buffer("filt") for m in twin.modules() if isinstance(m, BlurPool2d)]
    fixed = [blur.clone() for blur in blurs]
    randomize(twin, rng)
    for blur, values in zip(blurs, fixed, strict=True):
        blur.copy_(values)  # no weight, though PyTorch keeps it among the buffers
    module = make(param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    fb.load_state_dict(module, twin.state_dict(), names="timm")
    image = rng.normal(size=shape)
    x = from_nhwc(image).requires_grad_()
    with ExactGradients():
        y = twin.train()(x)
        y = y.permute(0, 2, 3, 1) if y.ndim == 4 else y
    weights = rng.normal(size=y.shape)
    (y * torch.from_numpy(weights)).sum().backward()

    output, of_params, of_input = gradients(module, jnp.asarray(image), jnp.asarray(weights))

    assert_equal(output, y, "output")
    assert_equal(of_input, present(x.grad).permute(0, 2, 3, 1), "gradient")
    moved = fb.state_dict(module, names="timm")
    for name, value in twin.state_dict().items():
        if name.rpartition(".")[2] in ("running_mean", "running_var"):
            assert_equal(moved[name], value, "statistic", name)
    nnx.update(module, of_params)  # so that the gradients get timm's names
    named = fb.state_dict(module, names="timm")
    truth = {name: present(value.grad) for name, value in twin.named_parameters()}
    # A shift that a norm or a softmax takes away again has no gradient but what rounding leaves.
    least = 1e-3 * max(float(value.abs().max()) for value in truth.values())
    for name, value in truth.items():
        assert_equal(named[name], value, "gradient", name, least)


def assert_part_trains_as_timms(
    make: Callable[..., nnx.Module],
    make_torch: Callable[[], torch.nn.Module],
    shape: tuple[int, int, int, int],
) -> None:
    """Fail unless a part's losses and weights stay timm's over several steps in float64.

    Args:
        make: makes ours: ``make(rngs=)``.
        make_torch: makes timm's.
        shape: shape ``(n, h, w, c)`` of the input.
    """
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    module = make(rngs=nnx.Rngs(0))
    report = compare(make_torch(), module, x, names="timm", checks=("trajectory",))
    assert report.ok, str(report)
