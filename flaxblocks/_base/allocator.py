"""The allocator's settings for memory that XLA frees."""

import ctypes
import platform
from functools import cache

# glibc's mallopt: above the first a block is mapped apart from the others, above the second free
# memory goes back to the system, and the third is how many separate heaps threads may have, each
# of which takes blocks up to 64 MB only. Numbers are C's int.
MMAP_THRESHOLD, TRIM_THRESHOLD, ARENA_MAX = -3, -1, -8
LARGEST = 2**31 - 1

# Bytes kept free for small blocks. Without, one that outlives a call is cut off the memory that the
# last call's temporary arrays had: too small for those of the next, which take as much again. A
# RegNetY-800MF that answered 8 images grew from 145 MB to 330.
ROOM = 8 << 20

COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX's event, once a program is compiled


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, so that XLA's next call finds it there.

    XLA asks for its temporary arrays anew at each call. By default glibc gives blocks above 32 MB
    back to the system when they are freed, and the system clears and maps them again, page by page:
    of a training step on CPU half the time and more. Call this first of all, before JAX computes
    anything. It holds for the whole process, which stays as large as it once was. Only when a
    program has been compiled is what is free given back: compilers need up to 220 MB, once, and
    `for_inference` as much as the weights.

    Returns:
        Whether it could be done: with glibc, so on most Linux systems. Elsewhere nothing changes.

    Source: mallopt(3), malloc_trim(3).
    """
    if not _is_glibc():
        return False
    _give_back_after_compiling()
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((MMAP_THRESHOLD, LARGEST), (TRIM_THRESHOLD, LARGEST), (ARENA_MAX, 1))
    return all([mallopt(number, value) == 1 for number, value in settings])


def give_back_free_memory() -> None:
    """Give what is free back to the system, with glibc."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


@cache
def _give_back_after_compiling() -> None:
    from jax import monitoring

    monitoring.register_event_duration_secs_listener(_give_back)


def _give_back(event: str, duration_secs: float, **_: object) -> None:
    del duration_secs  # however short: what was free before is given back as well
    if event == COMPILED:
        give_back_free_memory()
        _make_room()


_end_of_room = ctypes.c_void_p()


def _make_room() -> None:
    """Free a block that lies apart from the rest of the heap's free memory.

    The block behind it, of the same size, comes from where it came from. Neither is written to, so
    they are addresses alone.
    """
    library = ctypes.CDLL(None)
    library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    library.free.argtypes = [ctypes.c_void_p]
    library.free(_end_of_room)
    room = library.malloc(ROOM)
    _end_of_room.value = library.malloc(ROOM)
    library.free(room)
