# pyright: basic
"""What JAX's device tells of a compiled program: its memory, and the time of its kernels."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

CALLS = 3  # profiled


def peak_memory(compiled: jax.stages.Compiled) -> int:
    """Return the bytes that a program needs on the device, its arguments included."""
    sizes: Any = compiled.memory_analysis()
    return (
        sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        + sizes.temp_size_in_bytes
        - sizes.alias_size_in_bytes
    )


def kernels_of(run: Callable[[], Any]) -> dict[str, float]:
    """Return the seconds that each kernel takes in one run, by name."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready([run() for _ in range(CALLS)])
        (file,) = Path(folder).rglob("*.xplane.pb")
        profile = jax.profiler.ProfileData.from_file(str(file))
        seconds: dict[str, float] = defaultdict(float)
        for name, nanoseconds in _events(profile):
            seconds[name] += nanoseconds / 1e9 / CALLS
    return dict(seconds)


def _events(profile: Any) -> Iterator[tuple[str, float]]:
    """Yield the name and the nanoseconds of everything that ran on the device."""
    for plane in profile.planes:
        for line in plane.lines:
            on_gpu = plane.name.startswith("/device:GPU") and line.name.startswith("Stream")
            on_tpu = plane.name.startswith("/device:TPU") and line.name == "XLA Ops"
            on_cpu = plane.name == "/host:CPU" and line.name.startswith("tf_XLA")
            if on_gpu or on_tpu or on_cpu:
                yield from ((event.name, event.duration_ns) for event in line.events)
