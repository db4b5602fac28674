"""What the process frees stays with it, so that the next call meets no page for the first time."""

import platform
import subprocess
import sys

import pytest

import flaxblocks as fb

FAULTS = """
import resource, sys
import jax, jax.numpy as jnp
import flaxblocks as fb

if sys.argv[1] == "keep":
    assert fb.keep_freed_memory()
x = jnp.ones((3000, 1))
f = jax.jit(lambda x: x @ x.T).lower(x).compile()  # the result has 36 MB
for _ in range(50):  # until the heap is as large as it gets
    f(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    f(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


LEFT = """
import jax, jax.numpy as jnp, numpy as np
import flaxblocks as fb
from flaxblocks.bench.timing.process_memory import resident

assert fb.keep_freed_memory()
fb.keep_freed_memory()  # a second time changes nothing
blocks = [np.ones(1 << 17) for _ in range(256)]  # of 1 MB each
del blocks[::2]
before = resident()
jax.jit(lambda x: x + 1).lower(jnp.ones(8)).compile()
print((before - resident()) >> 20)
"""


ROOM = """
import ctypes, resource
import flaxblocks as fb
from jax import monitoring
from flaxblocks._base.allocator import COMPILED, ROOM

assert fb.keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
temporary, behind = library.malloc(1 << 26), library.malloc(1 << 26)
for _ in range(2):  # after one compilation and after another
    monitoring.record_event_duration_secs(COMPILED, 1.0)
    library.free(temporary)
    lasting = [library.malloc(1 << 19) for _ in range(8)]  # of 512 KB each
    assert library.malloc(1 << 26) == temporary


def addresses():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


before = addresses()
for _ in range(20):
    monitoring.record_event_duration_secs(COMPILED, 1.0)
assert addresses() - before < 8 * ROOM  # it is not made anew each time
"""


def page_faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
def test_a_second_call_meets_no_new_pages():
    assert page_faults("keep") < page_faults("give back") / 3


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
def test_memory_that_is_free_after_compiling_goes_back():
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 64  # of 128 MB, less what the compilation added


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
def test_blocks_that_last_take_nothing_from_temporary_ones():
    subprocess.run([sys.executable, "-c", ROOM], check=True)


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert fb.keep_freed_memory() is False
