"""What holds for the door under transformations, sharding and export, whatever computes it."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import export, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from flaxblocks import ops
from tests.helpers.arrays import assert_close

NHWC = ("NHWC", "HWIO", "NHWC")

# Name, shape of the input, shape of the kernel, stride, groups: one for each form.
FORMS = {
    "pointwise": ((4, 5, 6, 6), (1, 1, 6, 8), 2, 1),
    "depthwise": ((4, 7, 6, 6), (3, 3, 1, 6), 2, 6),
    "multiplier": ((4, 5, 6, 4), (3, 3, 1, 8), 1, 4),
    "small groups": ((4, 5, 6, 8), (3, 3, 4, 8), 1, 2),
    "wide groups": ((4, 5, 6, 24), (3, 3, 12, 24), 1, 2),
    "dense": ((4, 5, 6, 5), (3, 3, 5, 7), 1, 1),
    "dense, narrow": ((4, 5, 6, 5), (3, 3, 5, 64), 1, 1),
}

# The error of one rounding to the dtype and some thousand additions, as a part of the scale.
ROUNDING = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-12}


def arrays(form: str, dtype: DTypeLike = np.float64, lead: tuple[int, ...] = ()) -> tuple:
    rng = np.random.default_rng(0)
    x, kernel, _, _ = FORMS[form]
    return tuple(jnp.asarray(rng.standard_normal((*lead, *shape)), dtype) for shape in (x, kernel))


def convolution(form: str, convolve=ops.conv_general_dilated):
    """Return the form's function of input and kernel."""
    _, _, stride, groups = FORMS[form]
    return lambda x, kernel: convolve(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=NHWC,
        feature_group_count=groups,
    )


def gradients(form: str, convolve=ops.conv_general_dilated):
    """Return the gradients of a function that is not linear in either array."""
    function = convolution(form, convolve)
    return jax.grad(lambda x, kernel: (jnp.sin(function(x, kernel)) ** 2).sum(), (0, 1))


def vmap_equals_a_loop(form: str, mapped: tuple) -> None:
    lead = 3
    x, kernel = arrays(form, lead=(lead,))
    loop = [
        gradients(form, lax.conv_general_dilated)(
            *(a[0] if axis is None else a[i] for a, axis in zip((x, kernel), mapped, strict=True))
        )
        for i in range(lead)
    ]
    given = (
        a[0] if axis is None else jnp.moveaxis(a, 0, axis)
        for a, axis in zip((x, kernel), mapped, strict=True)
    )
    ours = jax.jit(jax.vmap(gradients(form), mapped))(*given)
    assert_close(ours, jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop))


def eager_jit_and_checkpoint_give_the_same(form: str) -> None:
    x, kernel = arrays(form)
    theirs = jax.jit(gradients(form, lax.conv_general_dilated))(x, kernel)
    recomputed = jax.checkpoint(lambda x, kernel: jnp.sin(convolution(form)(x, kernel)) ** 2)
    assert_close(gradients(form)(x, kernel), theirs)
    assert_close(
        jax.jit(jax.grad(lambda x, kernel: recomputed(x, kernel).sum(), (0, 1)))(x, kernel), theirs
    )


def gradient_through_a_scan_over_layers() -> None:
    x = arrays("depthwise")[0]
    kernels = jnp.asarray(np.random.default_rng(1).standard_normal((5, 3, 3, 1, 6)))

    def last(x, kernels, convolve):
        def layer(x, kernel):
            y = convolve(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=6)
            return jnp.tanh(y), None

        return lax.scan(layer, x, kernels)[0].sum()

    ours, theirs = (
        jax.jit(jax.grad(partial(last, convolve=convolve), (0, 1)))(x, kernels)
        for convolve in (ops.conv_general_dilated, lax.conv_general_dilated)
    )
    assert_close(ours, theirs)


def third_derivatives() -> None:
    x, kernel = (a[:1, :2, :2] for a in arrays("depthwise"))

    def third(convolve):
        function = convolution("depthwise", convolve)
        return jax.jacfwd(jax.hessian(lambda kernel: jnp.sin(function(x, kernel)).sum()))

    ours, theirs = (
        jax.jit(third(convolve))(kernel)
        for convolve in (ops.conv_general_dilated, lax.conv_general_dilated)
    )
    assert_close(ours, theirs)


def a_sharded_batch_stays_sharded(form: str, mesh: Mesh) -> None:
    x, kernel = arrays(form)
    theirs = convolution(form, lax.conv_general_dilated)(x, kernel)
    by_image = NamedSharding(mesh, PartitionSpec("batch"))
    expected = gradients(form, lax.conv_general_dilated)(x, kernel)
    x = jax.device_put(x, by_image)
    kernel = jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))
    y = jax.jit(convolution(form))(x, kernel)
    assert y.sharding.is_equivalent_to(by_image, 4)
    assert_close(y, theirs)
    step = jax.jit(gradients(form)).lower(x, kernel).compile()
    assert_close(step(x, kernel), expected)
    assert "all-gather" not in str(step.as_text())


def shard_map_adds_up_the_gradient_of_a_shared_kernel(form: str, mesh: Mesh) -> None:
    x, kernel = arrays(form)
    data, whole = PartitionSpec("batch"), PartitionSpec()

    def loss(x, kernel):
        return lax.psum((jnp.sin(convolution(form)(x, kernel)) ** 2).sum(), "batch")

    mapped = jax.shard_map(loss, mesh=mesh, in_specs=(data, whole), out_specs=whole)
    ours = jax.jit(jax.grad(mapped, (0, 1)))(x, kernel)
    assert_close(ours, gradients(form, lax.conv_general_dilated)(x, kernel))


def one_exported_program_for_every_platform(form: str) -> None:
    x, kernel = arrays(form)
    exported = export.export(jax.jit(gradients(form)), platforms=("cpu", "cuda", "tpu"))(x, kernel)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert_close(exported.call(x, kernel), gradients(form, lax.conv_general_dilated)(x, kernel))


def other_platforms_get_the_library_convolution(form: str) -> None:
    """A program lowered here for a TPU holds JAX's own convolution, and no sum of products."""
    x, kernel = arrays(form, np.float32)

    def operations(platform: str, convolve) -> list[str]:
        jitted = jax.jit(convolution(form, convolve))
        text = export.export(jitted, platforms=(platform,))(x, kernel).mlir_module()
        return sorted(re.findall(r"stablehlo\.\w+", text))

    ours, theirs = (
        operations("tpu", c) for c in (ops.conv_general_dilated, lax.conv_general_dilated)
    )
    assert ours == theirs == ["stablehlo.convolution"]
    if form in ("pointwise", "depthwise", "multiplier", "small groups"):
        assert "stablehlo.convolution" not in operations("cpu", ops.conv_general_dilated)


def export_with_a_batch_of_any_size() -> None:
    (n,) = export.symbolic_shape("n")
    for form in FORMS:
        x, kernel = arrays(form, np.float32)
        symbolic = jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype)
        exported = export.export(jax.jit(gradients(form)))(symbolic, kernel)
        assert_close(exported.call(x[:3], kernel), jax.jit(gradients(form))(x[:3], kernel), 1e-5)


def every_float_is_as_close_to_the_truth_as_it_can_be(form: str, dtype: str) -> None:
    x, kernel = arrays(form, dtype)
    truth = (np.asarray(a, np.float64) for a in (x, kernel))
    y, pullback = jax.vjp(convolution(form), x, kernel)
    true_y, true_pullback = jax.vjp(convolution(form, lax.conv_general_dilated), *truth)
    g = jnp.ones_like(y)
    ours, theirs = (y, pullback(g)), (true_y, true_pullback(jnp.ones_like(true_y)))
    assert all(a.dtype == dtype for a in jax.tree.leaves(ours))
    as_float64 = jax.tree.map(lambda a: a.astype(np.float64), ours)
    assert_close(as_float64, theirs, ROUNDING[dtype])


def an_infinite_pixel_stays_in_its_group() -> None:
    """Groups are not joined by products with zeros."""
    for form in FORMS:
        x, kernel = arrays(form, np.float32)
        x = x.at[0, 2, 2, 0].set(np.inf)
        ours, theirs = (
            convolution(form, c)(x, kernel)
            for c in (ops.conv_general_dilated, lax.conv_general_dilated)
        )
        np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs))
