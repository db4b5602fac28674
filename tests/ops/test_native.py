"""The native kernels: the same results, derivatives and transformations as JAX's convolutions."""

import re
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType

import flaxblocks as fb
from flaxblocks import ops
from tests.helpers import conv_transforms as transforms
from tests.helpers.convolutions import (
    Configuration,
    by_door,
    by_sums,
    check,
    random_configuration,
)
from tests.helpers.native_forms import FORMS, dense, depthwise, grouped

pytestmark = pytest.mark.usefixtures("xla_forms")

NARROW = ["narrow", "narrow", "narrow_kernel"]  # forward, and the two gradients
KERNELS = re.compile(r"@flaxblocks_(\w+?)_[0-9a-f]{8}\b")


@pytest.mark.parametrize("c", FORMS, ids=str)
def test_each_form_agrees_with_jax(c: Configuration, native, x64):
    check(c)


def native_channels(rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw what the kernels are for: 1 to 129 channels, depthwise, in small or large groups, dense.

    In float64 two vectors have 16 numbers.
    """
    kind = rng.integers(4)
    if kind < 2:
        width = int(rng.choice([1, 4, 8]))
        return int(rng.integers(1, 129 // width + 1)), width, width
    if kind == 2:
        return 1, 16 * int(rng.integers(1, 9)), 16 * int(rng.integers(1, 9))
    groups = int(rng.integers(2, 9))
    most = 129 // groups
    return groups, int(rng.integers(8, most + 1)), int(rng.integers(8, most + 1))


def configuration(rng: np.random.Generator) -> Configuration:
    """Draw one of which XLA compiles JAX's derivatives.

    It ends the process (jaxlib 0.10.2) on some that are dense and have a stride.
    """
    while True:
        c = random_configuration(rng, native_channels)
        if c.feature_group_count > 1 or max(c.window_strides) == 1:
            return c


@pytest.mark.parametrize("seed", range(3))
def test_random_configurations_agree_with_jax(seed: int, native, x64):
    check(configuration(np.random.default_rng(seed)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_thousand_random_configurations_agree_with_jax(seed: int, native, x64):
    rng = np.random.default_rng(1000 * seed)
    for _ in range(100):
        check(configuration(rng))
    jax.clear_caches()


def test_a_dense_one_that_jax_cannot_compile(native, x64):
    """JAX's own derivatives, and the door's without native kernels, end the process here."""
    check(dense((4, 6, 5, 16), (2, 5), 96, (2, 1), ((1, 2), (1, 1))), by_sums)


@pytest.mark.parametrize("width", [1, 4])
def test_stride_and_dilation_together(width: int, native, x64):
    """JAX's own derivatives end the process here; the reference is the definition."""
    same = ((1, 1), (2, 2))
    check(grouped((2, 9, 9, 12), (3, 3), width, (2, 2), same, (2, 2)), by_sums)
    check(grouped((1, 9, 8, 20), (3, 2), width, (2, 3), same, (3, 2)), by_sums)


def test_stride_and_dilation_together_in_a_dense_one(native, x64):
    check(dense((2, 9, 8, 16), (3, 2), 32, (2, 3), ((1, 1), (2, 2)), (3, 2)), by_sums)


MESH = partial(jax.make_mesh, (4,), ("batch",), axis_types=(AxisType.Auto,))
NATIVE_FORMS = ("depthwise", "small groups")
CHECKS = {
    f"{function.__name__}, {form}, {', '.join(map(str, more))}": partial(function, form, *more)
    for form in NATIVE_FORMS
    for function, more in (
        (transforms.vmap_equals_a_loop, ((0, None),)),
        (transforms.vmap_equals_a_loop, ((1, 3),)),
        (transforms.eager_jit_and_checkpoint_give_the_same, ()),
        (transforms.one_exported_program_for_every_platform, ()),
        (transforms.other_platforms_get_the_library_convolution, ()),
        *(
            (transforms.every_float_is_as_close_to_the_truth_as_it_can_be, (dtype,))
            for dtype in transforms.ROUNDING
        ),
    )
} | {
    "a scan over layers": transforms.gradient_through_a_scan_over_layers,
    "third derivatives": transforms.third_derivatives,
    "a batch of any size": transforms.export_with_a_batch_of_any_size,
    "an infinite pixel": transforms.an_infinite_pixel_stays_in_its_group,
}


@pytest.mark.parametrize("name", CHECKS)
def test_transformations_hold(name: str, native, x64):
    """The door's own tests, with native kernels."""
    CHECKS[name]()


@pytest.mark.parametrize("form", NATIVE_FORMS)
def test_several_devices_share_the_work_as_before(form: str, native, x64):
    mesh = MESH()
    transforms.a_sharded_batch_stays_sharded(form, mesh)
    transforms.shard_map_adds_up_the_gradient_of_a_shared_kernel(form, mesh)


def called(function: Callable, *args) -> list[str]:
    """Return the native kernels in the lowered program."""
    return KERNELS.findall(jax.jit(function).lower(*args).as_text())


def program(form: str) -> tuple:
    return transforms.gradients(form), *transforms.arrays(form, np.float32)


def test_the_kernels_are_called_where_they_are_meant_to_be():
    with ops.convolution("native"):
        assert sorted(called(*program("depthwise"))) == NARROW
        assert sorted(called(*program("small groups"))) == NARROW
        for form in ("pointwise", "multiplier", "wide groups", "dense"):
            assert called(*program(form)) == []  # the last two have less than a vector of channels
        x, kernel = jnp.ones((1, 4, 4, 32)), jnp.ones((3, 3, 32, 64))
        convolve = transforms.convolution("dense")
        assert called(jax.grad(lambda x, w: convolve(x, w).sum()), x, kernel) == ["dense"]
        kernels = called(jax.grad(lambda x, w: jnp.square(convolve(x, w)).sum(), (0, 1)), x, kernel)
        assert sorted(kernels) == ["dense", "dense", "dense_kernel"]
        with ops.convolution("lax"):
            assert called(*program("depthwise")) == []
    assert called(*program("depthwise")) == []


def test_a_derivative_taken_outside_keeps_the_choice():
    _, x, kernel = program("depthwise")
    with ops.convolution("native"):
        _, pullback = jax.vjp(transforms.convolution("depthwise"), x, kernel)
    y = transforms.convolution("depthwise")(x, kernel)
    assert sorted(called(pullback, y)) == ["narrow", "narrow_kernel"]


def test_a_jitted_function_follows_the_switch():
    function, x, kernel = program("depthwise")
    traces = []

    @jax.jit
    def jitted(x, kernel):
        traces.append(None)
        return function(x, kernel)

    for _ in range(2):
        jitted(x, kernel)
        with ops.convolution("native"):
            jitted(x, kernel)
    assert len(traces) == 2


def test_the_layer_follows_the_switch(native):
    conv = fb.Conv(8, 8, 3, groups=8, rngs=nnx.Rngs(0))
    assert called(conv, jnp.ones((1, 5, 5, 8))) == ["narrow"]


def test_a_kernel_gradient_does_not_depend_on_chance(native):
    """The order of its sums is fixed, whichever thread is first."""
    rng = np.random.default_rng(0)
    x, g = (jnp.asarray(rng.standard_normal((4, 28, 28, 40)), jnp.float32) for _ in range(2))
    c = depthwise(x.shape, (3, 3))
    kernel = jnp.ones(c.kernel)
    _, pullback = jax.vjp(lambda kernel: by_door(x, kernel, **c.arguments()), kernel)
    first, *others = (np.asarray(pullback(g)[0]) for _ in range(20))
    for other in others:
        np.testing.assert_array_equal(first, other)
