"""The depthwise kernel for NVIDIA GPUs: its arithmetic, run on the CPU, and when it is launched."""

import ctypes
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from flaxblocks import ops
from flaxblocks.ops.conv import xla
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.cuda import compiler, depthwise, launch
from tests.helpers.cuda_on_cpu import OnCpu

# image, window, strides, padding, channels
CASES = {
    "3x3": ((9, 10), (3, 3), (1, 1), ((1, 1), (1, 1)), 6),
    "more channels than lanes": ((5, 4), (3, 3), (1, 1), ((1, 1), (1, 1)), 70),
    "strided": ((11, 8), (5, 5), (2, 2), ((2, 2), (1, 2)), 4),
    "uneven strides": ((7, 9), (3, 2), (1, 3), ((0, 1), (1, 0)), 2),
    "cropped": ((12, 13), (3, 3), (2, 1), ((-1, 2), (1, -2)), 2),
    "wide": ((6, 15), (7, 7), (1, 1), ((3, 3), (3, 3)), 2),
}


@pytest.mark.parametrize("case", CASES)
def test_each_role_is_that_of_the_library_convolution(case: str, monkeypatch, tmp_path):
    on_cpu = OnCpu(tmp_path)
    monkeypatch.setattr(depthwise, "ptx", on_cpu.ptx)
    monkeypatch.setattr(depthwise, "launch", on_cpu.launch)
    monkeypatch.setattr(depthwise, "FILLED", 5 * CASES[case][-1])  # more tiles than slots
    image, window, strides, padding, channels = CASES[case]
    geometry = Geometry(image, window, strides, padding, (1, 1), channels)
    rng = np.random.default_rng(0)
    shapes = (3, *image, channels), (*window, 1, channels), (3, *geometry.output, channels)
    x, kernel, g = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes)
    for role, given in (("output", (x, kernel)), ("input", (kernel, g)), ("kernel", (x, g))):
        ours = depthwise.BY_ROLE[role](*given, geometry, None)
        theirs = jax.jit(partial(xla.BY_ROLE[role], geometry=geometry, precision=None))(*given)
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-5, err_msg=role)


@pytest.fixture
def gpu(monkeypatch):
    """Lower as where XLA can launch kernels."""
    monkeypatch.setattr(depthwise, "can_launch", lambda: True)
    monkeypatch.setattr(depthwise, "ptx", lambda source, constants: str(dict(constants)))
    jax.clear_caches()
    yield
    jax.clear_caches()


def convolution(window: int, stride: int, channels: int, groups: int, dilation: int = 1):
    """Return a convolution, and its input and kernel without values."""
    pad = window // 2
    convolve = partial(
        ops.conv_general_dilated,
        window_strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return convolve, (4, 12, 12, channels), (window, window, channels // groups, groups)


def launches(case: tuple, dtype: str, **how) -> int:
    """Return how many kernels a training step's program launches, of three convolutions."""
    convolve, image, kernel = convolution(*case)
    x, w = (jax.ShapeDtypeStruct(shape, dtype) for shape in (image, kernel))

    def step(x, w):
        return jax.value_and_grad(lambda x, w: jnp.sin(convolve(x, w)).sum(), (0, 1))(x, w)

    lowered = jax.jit(step, **how).trace(x, w).lower(lowering_platforms=("cuda",))
    return lowered.as_text().count(launch.TARGET)


HALF, SINGLE, DOUBLE = "bfloat16", "float32", "float64"


@pytest.mark.parametrize(
    ("case", "dtype", "expected"),
    [
        ((3, 1, 6, 6), HALF, 3),
        ((5, 2, 6, 6), HALF, 3),
        ((5, 2, 6, 6), SINGLE, 3),
        ((3, 2, 6, 6), SINGLE, 1),  # the input's gradient alone
        ((9, 1, 6, 6), HALF, 0),
        ((3, 1, 5, 5), HALF, 0),  # channels come in pairs
        ((3, 1, 6, 6, 2), HALF, 0),  # dilated
        ((3, 1, 32, 2), HALF, 0),  # groups of 16
    ],
)
def test_what_is_launched(case: tuple, dtype: str, expected: int, gpu):
    assert launches(case, dtype) == expected


def test_doubles_keep_the_library_convolution(gpu, x64):
    assert launches((3, 1, 6, 6), DOUBLE) == 0


@pytest.mark.parametrize(("devices", "expected"), [(1, 3), (2, 0)])
def test_a_program_for_several_devices_keeps_the_library_convolution(
    devices: int, expected: int, gpu
):
    mesh = AbstractMesh((devices,), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    assert launches((3, 1, 6, 6), HALF, in_shardings=split) == expected


def test_an_exported_program_keeps_the_library_convolution(gpu):
    convolve, image, kernel = convolution(3, 1, 6, 6)
    arrays = [jax.ShapeDtypeStruct(shape, HALF) for shape in (image, kernel)]
    exported = jax.export.export(jax.jit(convolve), platforms=("cuda",))(*arrays)
    assert launch.TARGET not in exported.mlir_module()


def test_lax_is_the_library_convolution(gpu):
    with ops.convolution("lax"):
        assert launches((3, 1, 6, 6), HALF) == 0


def test_nothing_is_launched_without_a_gpu():
    assert not launch.can_launch()
    assert launches((3, 1, 6, 6), HALF) == 0


class Nvrtc:
    """Stands in for the compiler: it returns the options as the program, or a log."""

    def __init__(self, refuses: bool):
        self.refuses, self.options = refuses, b""

    def nvrtcCreateProgram(self, *_):
        return 0

    def nvrtcCompileProgram(self, _, count, options):
        self.options = b"// head\n.version 9.9\n" + b"\n".join(options[:count])
        return int(self.refuses)

    def nvrtcGetPTXSize(self, _, size):
        size._obj.value = len(self.options) + 1
        return 0

    def nvrtcGetPTX(self, _, text):
        ctypes.memmove(text, self.options, len(self.options))
        return 0

    def nvrtcGetProgramLogSize(self, _, size):
        size._obj.value = 32
        return 0

    def nvrtcGetProgramLog(self, _, text):
        text.value = b"line 3: no such name"
        return 0

    def nvrtcDestroyProgram(self, _):
        return 0


def test_a_source_is_compiled_with_its_constants_for_any_driver(monkeypatch):
    monkeypatch.setattr(compiler, "nvrtc", lambda: Nvrtc(refuses=False))
    assert compiler.ptx("source", (("TAPS_H", 3),)).splitlines() == [
        "// head",
        f".version {compiler.PTX_VERSION}",
        f"--gpu-architecture={compiler.ARCHITECTURE}",
        "--std=c++17",
        "-DTAPS_H=3",
    ]


@pytest.mark.parametrize(
    ("library", "expected"), [(Nvrtc(True), "line 3: no such name"), (None, "libnvrtc.so.13")]
)
def test_what_is_refused_says_why(library, expected: str, monkeypatch):
    monkeypatch.setattr(compiler, "nvrtc", lambda: library)
    with pytest.raises(RuntimeError, match=expected):
        compiler.ptx("other source", ())
