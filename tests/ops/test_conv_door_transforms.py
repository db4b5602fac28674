"""The convolution door under JAX's transformations, sharding, export and every float."""

import jax
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType

from tests.helpers import conv_transforms as transforms
from tests.helpers.arrays import assert_close
from tests.helpers.conv_transforms import FORMS, ROUNDING, arrays, gradients

forms = pytest.mark.parametrize("form", FORMS)


@pytest.mark.parametrize(
    ("form", "mapped"),
    [
        *((form, (1, 3)) for form in FORMS),
        *((form, mapped) for form in ("depthwise", "dense") for mapped in ((0, None), (None, 0))),
        ("wide groups", (0, 0)),
    ],
    ids=str,
)
def test_vmap_equals_a_loop(form: str, mapped: tuple, x64):
    transforms.vmap_equals_a_loop(form, mapped)


@forms
def test_eager_jit_and_checkpoint_give_the_same(form: str, x64):
    transforms.eager_jit_and_checkpoint_give_the_same(form)


def test_gradient_through_a_scan_over_layers(x64):
    transforms.gradient_through_a_scan_over_layers()


def test_third_derivatives(x64):
    transforms.third_derivatives()


@pytest.fixture
def mesh():
    """Four devices in a row."""
    return jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))


@forms
def test_a_sharded_batch_stays_sharded(form: str, mesh, x64):
    transforms.a_sharded_batch_stays_sharded(form, mesh)


@forms
def test_shard_map_adds_up_the_gradient_of_a_shared_kernel(form: str, mesh, x64):
    transforms.shard_map_adds_up_the_gradient_of_a_shared_kernel(form, mesh)


@forms
def test_one_exported_program_for_every_platform(form: str, x64):
    transforms.one_exported_program_for_every_platform(form)


@forms
def test_other_platforms_get_the_library_convolution(form: str):
    transforms.other_platforms_get_the_library_convolution(form)


def test_export_with_a_batch_of_any_size(quick):
    transforms.export_with_a_batch_of_any_size()


@forms
@pytest.mark.parametrize("dtype", ROUNDING)
def test_every_float_is_as_close_to_the_truth_as_it_can_be(form: str, dtype: str, x64):
    transforms.every_float_is_as_close_to_the_truth_as_it_can_be(form, dtype)


@forms
def test_under_strict_promotion_rules(form: str, quick):
    x, kernel = arrays(form, np.float32)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert_close(
            jax.jit(gradients(form))(x, kernel),
            jax.jit(gradients(form, lax.conv_general_dilated))(x, kernel),
            1e-5,
        )


def test_an_infinite_pixel_stays_in_its_group(quick):
    transforms.an_infinite_pixel_stays_in_its_group()
