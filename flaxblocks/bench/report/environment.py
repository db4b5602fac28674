"""The environment that a result file records."""

import os
import platform
import re
import shlex
import time
from pathlib import Path
from typing import Any

import flaxblocks
from flaxblocks._base.command_line import own_arguments, versions

# What changes how the contestants run.
PREFIXES = (
    *("XLA_", "JAX_", "FLAXBLOCKS_", "OMP_", "KMP_", "MKL_", "ONEDNN_", "ATEN_", "TORCH"),
    *("MALLOC_", "GLIBC_", "LD_PRELOAD"),
)

PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch", "torchvision", "onnxruntime")


def facts(threads: int, dtype: str) -> dict[str, Any]:
    """Return date, command, versions, processor, threads, and how busy the machine is.

    Args:
        threads: of each contestant.
        dtype: of the computation.
    """
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": shlex.join(["python", "-m", "flaxblocks.bench", *own_arguments("bench")]),
        "versions": {"flaxblocks": flaxblocks.__version__} | versions(PACKAGES),
        "python": platform.python_version(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "threads": threads,
        "dtype": dtype,
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(PREFIXES)},
        "load before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)$", info.read_text(), re.M) if info.exists() else None
    return found[1] if found else platform.processor()


def slug(name: str) -> str:
    """Return a device's name as a part of a file's.

    >>> slug("NVIDIA H100 80GB HBM3")
    'nvidia-h100-80gb-hbm3'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
