"""The native kernels: the same results, derivatives and transformations as JAX's convolutions."""

import re
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType

import flaxblocks as fb
from flaxblocks import ops
from parity.checks.measure import rms_error
from tests.helpers import conv_transforms as transforms
from tests.helpers.convolutions import (
    Configuration,
    by_door,
    by_lax,
    by_sums,
    check,
    derivatives,
    random_configuration,
)

pytestmark = pytest.mark.usefixtures("xla_forms")

NARROW = ["narrow", "narrow", "narrow_kernel"]  # forward, and the two gradients
KERNELS = re.compile(r"@flaxblocks_(\w+?)_[0-9a-f]{8}\b")


@pytest.fixture
def native() -> Iterator[None]:
    with ops.convolution("native"):
        yield


def depthwise(x: tuple, window: tuple, *args, **kwargs) -> Configuration:
    return Configuration(x, (*window, 1, x[3]), *args, feature_group_count=x[3], **kwargs)


def grouped(x: tuple, window: tuple, width: int, *args, **kwargs) -> Configuration:
    kernel = (*window, width, x[3])
    return Configuration(x, kernel, *args, feature_group_count=x[3] // width, **kwargs)


def dense(x: tuple, window: tuple, outputs: int, *args, **kwargs) -> Configuration:
    return Configuration(x, (*window, x[3], outputs), *args, **kwargs)


# What float32 has kernels of its own for.
IN_FLOAT32 = [
    # Tiles of 2x2 results: rests at every edge; sums of more than 256 products.
    dense((2, 9, 12, 40), (3, 3), 56, (1, 1), ((0, 2), (2, -1))),
    dense((1, 11, 12, 272), (3, 3), 16),
    # Groups of a vector: more columns than are computed at once, both strides, cropped and padded.
    grouped((2, 5, 17, 48), (3, 3), 16),
    grouped((1, 9, 24, 32), (3, 3), 16, (2, 2), ((1, 1), (1, 1))),
    grouped((2, 6, 5, 32), (3, 3), 16, (1, 1), ((-1, 3), (2, -1))),
]
FORMS = [
    # One vector, several and a rest, short vectors, single channels; 7, 4, 2 and 1 pixels.
    depthwise((2, 5, 14, 16), (3, 3)),
    depthwise((1, 6, 16, 129), (5, 5)),
    depthwise((2, 9, 8, 24), (7, 7)),
    depthwise((3, 4, 5, 6), (3, 5), (1, 2)),
    depthwise((9, 3, 1, 3), (1, 1)),
    depthwise((1, 5, 3, 1), (2, 3), (2, 1)),
    depthwise((3, 8, 9, 10), (5, 3), (2, 1), ((2, 1), (0, 3))),
    depthwise((2, 9, 12, 20), (3, 4), (1, 1), "VALID", (2, 3)),
    # Cropped at every side; padded beyond what any tap sees; a stride wider than the kernel.
    depthwise((2, 9, 10, 17), (3, 3), (1, 2), ((-1, -2), (-2, -1))),
    depthwise((1, 3, 2, 18), (2, 2), (1, 2), ((4, 5), (3, 4))),
    depthwise((1, 9, 9, 4), (2, 1), (3, 3), "VALID"),
    grouped((2, 5, 9, 4), (3, 3), 4),
    grouped((2, 5, 9, 36), (3, 3), 4, (2, 2), ((1, 1), (1, 1))),
    grouped((1, 6, 7, 40), (2, 5), 4, (1, 1), ((0, 2), (-1, 3)), (2, 1)),
    grouped((2, 5, 8, 8), (3, 3), 8),
    grouped((2, 6, 5, 24), (3, 3), 8, (1, 2)),
    grouped((1, 4, 15, 128), (1, 3), 8),
    # Vectors in fours, twos and ones with a rest; sums of one product and of more than 256.
    dense((2, 5, 14, 64), (3, 3), 64),
    dense((1, 6, 9, 3), (7, 7), 48, (2, 2)),
    dense((2, 7, 8, 112), (3, 3), 16, (1, 1), ((0, 2), (-1, 3)), (2, 1)),
    dense((1, 4, 3, 304), (1, 2), 48),
    dense((2, 9, 10, 32), (3, 3), 112, (1, 2), ((-1, -2), (-2, -1))),
    grouped((2, 6, 9, 48), (3, 3), 16, (2, 1)),
    Configuration((2, 5, 6, 24), (3, 2, 12, 20), (1, 2), "SAME", feature_group_count=2),
    *IN_FLOAT32,
]


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


def operands(c: Configuration, draw: Callable[[tuple], np.ndarray]) -> list[np.ndarray]:
    """Return what `derivatives` takes."""
    output = jax.eval_shape(
        lambda *a: by_lax(*a, **c.arguments()), *(jnp.ones(s) for s in (c.x, c.kernel))
    )
    return [draw(shape) for shape in (c.x, c.kernel, c.x, c.kernel, output.shape)]


@pytest.mark.parametrize("c", [FORMS[1], FORMS[6], FORMS[12], FORMS[17], *IN_FLOAT32], ids=str)
def test_exact_arithmetic_gives_the_same_bits(c: Configuration, native):
    """Nothing rounds: small integers over 8, so each result is the same whatever the order."""
    rng = np.random.default_rng(0)
    arrays = operands(c, lambda shape: rng.integers(-8, 9, shape).astype(np.float32) / 8)
    ours, theirs = (derivatives(convolve, c)(*arrays) for convolve in (by_door, by_lax))
    for name, expected in theirs.items():
        assert len(np.unique(expected)) > 100, name
        np.testing.assert_array_equal(ours[name], expected, err_msg=name)


@pytest.mark.parametrize(
    "c", [FORMS[1], FORMS[2], FORMS[12], FORMS[15], FORMS[17], FORMS[20], *IN_FLOAT32], ids=str
)
def test_float32_is_as_close_to_the_truth_as_jax(c: Configuration, native):
    rng = np.random.default_rng(0)
    arrays = operands(c, lambda shape: rng.standard_normal(shape).astype(np.float32))
    ours, theirs = (derivatives(convolve, c)(*arrays) for convolve in (by_door, by_lax))
    with jax.enable_x64(True):
        truth = derivatives(by_lax, c)(*(a.astype(np.float64) for a in arrays))
    # The mean error: the largest of either is chance. Sums of 144 products in order, as PyTorch's
    # and those of the dense kernel, have 2.04 of the error of XLA's, which are in vectors.
    for name, true in truth.items():
        error, theirs_error = (
            rms_error(np.asarray(a[name]), np.asarray(true)) for a in (ours, theirs)
        )
        assert error <= max(2.5 * theirs_error, float(np.finfo(np.float32).eps) / 2), name


def test_dense_3x3_in_float32_takes_tiles(native, x64):
    """Which can be seen where a pixel is infinite: its products are taken from each other."""
    for dtype, in_tiles in ((np.float32, True), (np.float64, False)):
        x = np.zeros((1, 12, 12, 32), dtype)
        x[0, 4, 4, 0] = np.inf
        kernel = np.ones((3, 3, 32, 32), dtype)
        y = jax.jit(partial(by_door, window_strides=(1, 1), padding="SAME"))(x, kernel)
        reached = np.zeros(y.shape, bool)
        reached[:, 3:6, 3:6] = True
        np.testing.assert_array_equal(~np.isfinite(y), reached)
        assert np.isnan(y).any() == in_tiles, dtype


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
