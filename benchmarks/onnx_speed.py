"""ONNX Runtime's time for our files beside those of PyTorch's own export, one image on one thread.

    python -m benchmarks.onnx_speed --json benchmarks/onnx-speed-cpu-DATE.json resnet18 densenet121

Both files are of the same network with the same random weights, and answers to a photograph are
compared before times. Calls of both alternate, so that what slows the machine slows both; a round
has 20 calls of each at least, its ratio is of their 20th percentiles, a network's the median of its
rounds'. The results are added to those that the file has.
"""

import argparse
import json
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import torch

import flaxblocks as fb
from flaxblocks._base.command_line import versions
from flaxblocks.exporting.verify import BOUNDS
from parity.checks.measure import scaled_error
from tests.helpers.exported import normalized_crops
from tests.helpers.networks import flax_network, torch_network
from torch_ref.harness.layout import from_nhwc

PERCENTILE = 20

LEAST_CALLS = 20
"""Of a round: of two calls one that the machine stopped would be a fifth of the result."""

DEPENDS = 1e-3
"""How far, of the largest value, the answers to two photographs are at least from each other."""

Sessions = dict[str, onnxruntime.InferenceSession]
Feeds = dict[str, np.ndarray]
PACKAGES = ("jax", "onnx", "onnxruntime", "torch", "torchvision", "timm")


class OwnHead(torch.nn.Module):
    """A segmentation network without its auxiliary head, as ours is exported."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return what each pixel shows, not the mapping that PyTorch's network returns."""
        return self.network(images)["out"]


def written(name: str, images: np.ndarray, folder: Path) -> dict[str, Path]:
    """Write both files of a network, for one image, where they are not there yet."""
    files = {side: folder / f"{name.replace('/', '_')}_{side}.onnx" for side in ("ours", "torch")}
    if all(path.exists() for path in files.values()):
        return files
    twin = torch_network(name, images.astype(np.float64)).float().eval()
    model = flax_network(name, twin.state_dict(), param_dtype=jnp.float32)
    fb.export(model, files["ours"], input_size=images.shape[1], batch=1)
    if fb.model_info(name).task == "segmentation":
        twin = OwnHead(twin)
    with warnings.catch_warnings():  # PyTorch's exporter uses what PyTorch has deprecated
        warnings.simplefilter("ignore")
        program = torch.onnx.export(twin, (from_nhwc(images[:1]),), dynamo=True, verbose=False)
    assert program is not None  # None comes back where a file is written
    onnx.save(program.model_proto, files["torch"])
    return files


def measured(name: str, folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Return the milliseconds of both files, their ratio, and how many nodes each has.

    Raises:
        AssertionError: if the two are not the same function.
    """
    record = fb.model_info(name)
    assert record.preprocess is not None
    size = record.preprocess.crop
    images = normalized_crops(record.preprocess, 2, size)
    files = written(name, images, folder)
    image = images[:1]
    nodes = {side: _nodes(path) for side, path in files.items()}
    feeds = {"ours": image, "torch": from_nhwc(image).contiguous().numpy()}
    sessions = {side: _session(path) for side, path in files.items()}
    answers = {side: _call(sessions[side], feeds[side]) for side in sessions}
    difference = scaled_error(answers["ours"], np.moveaxis(answers["torch"], 1, -1))
    assert difference <= BOUNDS["float32"], difference
    other = _call(sessions["ours"], images[1:])
    assert scaled_error(other, answers["ours"]) > DEPENDS, "the image is lost on the way"
    found = [_round(sessions, feeds, seconds) for _ in range(rounds)]
    ratios = [fast["ours"] / fast["torch"] for fast, _ in found]
    fast, calls = found[int(np.argsort(ratios)[len(ratios) // 2])]
    return {
        **{side: float(f"{ms:.4g}") for side, ms in fast.items()},
        "ratio": round(fast["ours"] / fast["torch"], 3),
        "rounds": [round(ratio, 3) for ratio in ratios],
        "calls": calls,
        "difference": float(f"{difference:.1e}"),
        "nodes_after_optimization": nodes,
    }


def _round(sessions: Sessions, feeds: Feeds, seconds: float) -> tuple[dict[str, float], int]:
    """Return the milliseconds of each side, and how often both were called."""
    times: dict[str, list[float]] = {side: [] for side in sessions}
    end = perf_counter() + seconds
    while perf_counter() < end or len(times["ours"]) < LEAST_CALLS:
        for side, session in sessions.items():
            started = perf_counter()
            _call(session, feeds[side])
            times[side].append(perf_counter() - started)
    return {side: typical(t) * 1e3 for side, t in times.items()}, len(times["ours"])


def typical(seconds: Sequence[float]) -> float:
    """Return one of the times, which a fifth of them do not exceed."""
    return float(np.percentile(seconds, PERCENTILE, method="lower"))


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def _call(session: onnxruntime.InferenceSession, image: np.ndarray) -> np.ndarray:
    (result,) = session.run(None, {session.get_inputs()[0].name: image})
    return np.asarray(result)


def _nodes(path: Path) -> dict[str, int]:
    """Return how many nodes of each kind ONNX Runtime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path.with_suffix(".optimized"))
    options.log_severity_level = 3  # it warns that the file is for this processor
    onnxruntime.InferenceSession(path, options)
    graph = onnx.load(options.optimized_model_filepath).graph
    return dict(Counter(node.op_type for node in graph.node).most_common())


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--json", type=Path, required=True, help="the result file")
    parser.add_argument("--seconds", type=float, default=5, help="of a round's calls")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=Path, help="keep the files here, take those that are there")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    found = json.loads(options.json.read_text()) if options.json.exists() else {"networks": {}}
    for name in options.networks:
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.files or Path(temporary)
            row = measured(name, folder, options.seconds, options.rounds)
        print(f"{name:<24} {row['ours']:8.2f} {row['torch']:8.2f} {row['ratio']:6.3f}", flush=True)
        found = {**found, "versions": versions(PACKAGES)}
        found["networks"][name] = row
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
