"""Serve what `flaxblocks export --to onnx --prepare-images` wrote over HTTP, without JAX.

It needs onnxruntime, numpy and pillow:

    python examples/serve_onnx.py model.onnx 8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/
"""

import io
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def make_server(path, port):
    """Return a server on loopback that answers a posted photograph with its likeliest class."""
    session = onnxruntime.InferenceSession(path)
    about = json.loads(session.get_modelmeta().custom_metadata_map["flaxblocks"])
    resize, crop, method = (about["preprocess"][n] for n in ("resize", "crop", "interpolation"))

    def classify(photo):
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(photo))).convert("RGB")
        size = [resize * side // min(image.size) for side in image.size]
        image = image.resize(size, Image.Resampling[method.upper()])
        left, top = (round((side - crop) / 2) for side in size)
        pixels = np.asarray(image.crop((left, top, left + crop, top + crop)))
        ((likely,),) = session.run(None, {"images": pixels[None]})
        best = int(likely.argmax())
        return {"class": about["classes"][best], "probability": float(likely[best])}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            try:
                photo = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = 200, classify(photo)
            except (OSError, ValueError) as error:  # no photograph
                status, answer = 400, {"error": str(error)}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

    return HTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    make_server(sys.argv[1], int(sys.argv[2])).serve_forever()
