"""A small network, files of its weights and a server of files, for the tests of weight files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import jax
import numpy as np
import pytest
import safetensors.numpy
import torch
from flax import nnx

import flaxblocks as fb
from flaxblocks.models import Backbone, resnet
from flaxblocks.weights.entries import COUNTER
from flaxblocks.weights.state_dict import NAMES

ARCHITECTURE = resnet.resnet((1, 1, 1, 1), resnet.basic, resnet.Widths(8, (8, 8, 16, 16)))


@cache
def _parts(**options) -> tuple[nnx.GraphDef, nnx.State]:
    return nnx.split(nnx.eval_shape(lambda: Backbone(ARCHITECTURE, rngs=nnx.Rngs(0), **options)))


def abstract(num_classes: int = 10, **options) -> Backbone:
    """Return a residual network of 12 thousand parameters without its arrays."""
    return nnx.merge(*_parts(num_classes=num_classes, **options), copy=True)


def arrays(module: nnx.Module, names: str = "native", seed: int = 0) -> dict[str, np.ndarray]:
    """Return random weights and statistics for the module, by name."""
    rng = np.random.default_rng(seed)
    return {
        name: np.array(rng.integers(1, 99))
        if name.endswith(COUNTER)
        else rng.uniform(0.1, 1, entry.shape).astype(np.float32)
        for name, entry in NAMES[names](module).items()
    }


def network(seed: int = 0, **options) -> Backbone:
    """Return the residual network with random weights and statistics."""
    made = abstract(**options)
    fb.load_state_dict(made, arrays(made, seed=seed))
    return made


def assert_equal(module: nnx.Module, truth: Mapping[str, np.ndarray]) -> None:
    """Fail unless the module has these weights, bit for bit, and these dtypes."""
    given = fb.state_dict(module)
    assert given.keys() == truth.keys()
    for name, value in given.items():
        assert value.dtype == truth[name].dtype, name
        np.testing.assert_array_equal(value, truth[name], err_msg=name)


def refused(kind: type[Exception], message: str, source, **arguments) -> str:
    """Fail unless loading raises this in one sentence and leaves the module as it was."""
    target = network(seed=1)
    with pytest.raises(kind, match=message) as caught:
        fb.load_weights(target, source, **arguments)
    assert_equal(target, fb.state_dict(network(seed=1)))
    return str(caught.value)


def saved(folder: Path, suffix: str, changes: dict[str, np.ndarray] | None = None) -> Path:
    """Write the weights of a network that fits, with changes."""
    weights = arrays(abstract()) | (changes or {})
    path = folder / f"weights{suffix}"
    if suffix == ".safetensors":
        safetensors.numpy.save_file(weights, path)
    else:
        torch.save({k: torch.from_numpy(np.asarray(v)) for k, v in weights.items()}, path)
    return path


both_kinds = pytest.mark.parametrize("suffix", [".safetensors", ".pth"])


def is_abstract(module: nnx.Module) -> bool:
    """Return whether no variable of the module has been given an array."""
    leaves = jax.tree.leaves(nnx.state(module, (nnx.Param, nnx.BatchStat)))
    return all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)


@dataclass
class Server:
    """A server on this machine.

    Args:
        url: where it is.
        responses: for each path, or method and path, the status, the headers and the content; 404
            for all others.
        requests: method and path of each request so far.
    """

    url: str
    responses: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def put(self, path: str, content: bytes | Path, **headers: str) -> str:
        """Serve the content at a path, and return its address."""
        data = content.read_bytes() if isinstance(content, Path) else content
        self.responses[path] = (200, {k.replace("_", "-"): v for k, v in headers.items()}, data)
        return self.url + path


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append(f"{self.command} {self.path}")
            found = server.responses.get(f"{self.command} {self.path}")
            found = found or server.responses.get(self.path, (404, {}, b""))
            status, headers, content = found
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(f"http://127.0.0.1:{http.server_address[1]}")
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
