# pyright: basic
"""Compiled programs kept from one process to the next."""

from flaxblocks._base.cache import cache_folder


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles in ``programs`` in the cache folder, for later processes.

    A folder set by other means, such as ``$JAX_COMPILATION_CACHE_DIR``, stays. Where no folder can
    be written, nothing is kept.
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
    # Many small programs make up most of the time to a network's first answer.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
