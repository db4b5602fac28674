"""The script that measures on an accelerator, run on the CPU with few small images."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flaxblocks.bench.report.results import read

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_script_leaves_a_result_file_with_every_mode(tmp_path):
    path = tmp_path / "result.json"
    script = [str(ROOT / "benchmarks" / "accelerator.sh"), "--device", "cpu", "--quick"]
    environment = os.environ | {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"}
    subprocess.run([*script, "--json", str(path)], env=environment, check=True)
    results = read(path)
    assert not results.refused
    assert {row.mode for row in results.rows} == {"step", "infer", "input", "kernel"}
    step = [row for row in results.rows if row.mode == "step"]
    assert {row.contestant for row in step} == {"flaxblocks", "torch", "torch-compile"}
