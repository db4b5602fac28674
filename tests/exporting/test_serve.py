"""The example that serves an exported model, on loopback."""

import importlib.util
import io
import json
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from flax import nnx
from PIL import Image

import flaxblocks as fb
from tests.helpers.exported import SIZE, crops
from tests.helpers.typed import present

EXAMPLE = Path(__file__).parents[2] / "examples" / "serve_onnx.py"


def test_the_example_answers_as_the_network_does(network: nnx.Module, tmp_path):
    source = EXAMPLE.read_text()
    assert "jax" not in source.lower().split('"""')[2]
    spec = present(importlib.util.spec_from_file_location("serve_onnx", EXAMPLE))
    example = importlib.util.module_from_spec(spec)
    present(spec.loader).exec_module(example)
    classes = tuple("abcdefg")
    path = fb.export(
        network, tmp_path / "model.onnx", input_size=SIZE, classes=classes, prepare_images=True
    )
    server = example.make_server(path, 0)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    photo = Image.fromarray(crops(1, 50)[0])
    file = io.BytesIO()
    photo.save(file, "png")

    with urlopen(address, file.getvalue()) as reply:
        answer = json.load(reply)
    with pytest.raises(HTTPError, match="400"):
        urlopen(address, b"no photograph")
    for length in (None, "many"):
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.putrequest("POST", "/")
        if length is not None:
            connection.putheader("Content-Length", length)
        connection.endheaders()
        reply = connection.getresponse()
        assert reply.status == 400 and json.load(reply)["error"]
        connection.close()
    server.shutdown()
    server.server_close()

    exported = fb.load_exported(path)
    (likely,) = exported(present(exported.preprocess).pixels(photo))
    assert answer["class"] == classes[int(likely.argmax())]
    assert answer["probability"] == pytest.approx(float(likely.max()))
