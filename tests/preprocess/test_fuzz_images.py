"""Images that somebody broke, or that unpack to more than fits: prepared, or refused by name."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flaxblocks as fb
from tests.helpers import fuzzing

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")
PREPROCESS = fb.Preprocess(32, 32)


def encoded(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def png(width: int, height: int, rows: int) -> bytes:
    """Return a PNG that says it is this large, of black rows that take hardly any bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * min(rows * (3 * width + 1), 1 << 24), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def make(rng: np.random.Generator) -> bytes:
    if rng.random() < 0.8:
        return fuzzing.mutated(encoded(FORMATS[rng.integers(len(FORMATS))]), rng)
    width, height = (int(2 ** rng.uniform(0, 31)) for _ in range(2))
    return png(width, height, int(rng.integers(0, 50)))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("count", [16, pytest.param(400, marks=pytest.mark.slow)])
def test_a_broken_image(count, tmp_path: Path):
    rng = np.random.default_rng(18)
    said = []
    for number in range(count):
        path = tmp_path / f"{number}.img"
        path.write_bytes(make(rng))
        found: list[np.ndarray] = []
        text = fuzzing.outcome(lambda p=path, f=found: f.append(PREPROCESS(p)), tmp_path)
        assert text != "loaded" or (
            found[0].shape == (1, 32, 32, 3) and np.isfinite(found[0]).all()
        )
        assert text == "loaded" or str(path) in text
        said.append(text)
    assert 0 < said.count("loaded") < count
