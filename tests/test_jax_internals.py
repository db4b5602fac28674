"""What a JAX that lacks one of its internals is answered with."""

from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from flaxblocks._base import jax_internals


def test_a_jax_without_one_of_them_is_named_with_what_to_install(monkeypatch):
    monkeypatch.delattr(jax, "make_user_context")
    spec = spec_from_file_location("again", jax_internals.__file__)
    assert spec is not None and spec.loader is not None
    words = rf"jax {jax.__version__} has no more .*make_user_context.*pip install 'jax>=0\.10\.2"
    with pytest.raises(ImportError, match=words):
        spec.loader.exec_module(module_from_spec(spec))


def test_where_nothing_tells_an_array_varies_nowhere_and_is_placed_as_it_is(monkeypatch):
    x = jnp.ones((2, 3))
    monkeypatch.setattr(jax, "typeof", lambda x: SimpleNamespace(sharding=x.sharding))
    assert jax_internals.varying_axes(x) == frozenset()
    like = jax_internals.placed_like(x, (4,))
    assert (like.shape, like.dtype, like.sharding) == ((4,), x.dtype, x.sharding)


def test_where_nothing_tells_a_program_may_call_no_kernels():
    assert not jax_internals.is_for_one_device(SimpleNamespace())
    assert jax_internals.is_exported(SimpleNamespace())
