# pyright: basic
"""Compiled programs kept from one process to the next."""

from flaxblocks._base.cache import cache_folder


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles in ``programs`` in the cache folder, for later processes.

    A folder that JAX was told of otherwise, as in ``$JAX_COMPILATION_CACHE_DIR``, stays the one.
    Where there is no folder that can be written, programs are compiled anew.
    """
    import jax  # the command line's own start is quick

    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    try:
        folder = cache_folder() / "programs"
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Of a network's first answer most is many small programs.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
