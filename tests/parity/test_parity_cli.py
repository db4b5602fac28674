"""`python -m parity`: what it prints, writes and returns, and how it refuses bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flaxblocks as fb
from flaxblocks import cli
from flaxblocks.models import registry
from parity import CHECKS
from parity.command import ALL_CHECKS, main

pytestmark = pytest.mark.usefixtures("quick")

ROOT = Path(__file__).parents[2]
QUICK = ["--blocks", "Conv1X1BnReLU", "--checks", "names,bitwise"]
PAIR = ["--pair", "tests.helpers.parity_pairs:make_torch"]


def test_it_runs_as_a_command():
    command = [sys.executable, "-m", "parity", *QUICK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if "Conv1X1BnReLU" in line)
    assert row.split()[1:5] == ["2,240", "2,240", "yes", "yes"]
    assert "1 of 1 equal to PyTorch" in done.stdout


def test_it_is_a_subcommand_too(capsys):
    assert cli.main(["parity", *QUICK]) == 0
    assert "1 of 1 equal to PyTorch" in capsys.readouterr().out
    pair = ["parity", *PAIR, "tests.helpers.parity_pairs:make_flax_with_another_eps"]
    assert cli.main([*pair, "--checks", "names,float64"]) == 1
    assert cli.main(["parity", "--blocks", "MBConf"]) == 2
    assert "flaxblocks: error: `--blocks`: no block is called" in capsys.readouterr().err


def test_the_options_offer_every_check():
    assert ALL_CHECKS == tuple(CHECKS)


# In a process of its own, which behaves as if PyTorch were not installed.
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from {module} import main
sys.exit(main({arguments}))
"""


@pytest.mark.parametrize(
    ("program", "module", "arguments"),
    [("parity", "parity.command", []), ("flaxblocks", "flaxblocks.cli", ["parity"])],
)
def test_without_pytorch_one_sentence_names_the_extra(program, module, arguments):
    script = WITHOUT_TORCH.format(module=module, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    needed = "parity needs torch: pip install 'flaxblocks[parity]'"
    assert (done.returncode, done.stderr) == (2, f"{program}: error: {needed}\n")


def test_it_writes_json_and_a_page_with_plots(tmp_path, capsys):
    arguments = ["--blocks", "Conv1X1BnReLU", "--checks", "names,float64,float32"]
    outputs = ["--json", str(tmp_path / "rows.json"), "--report", str(tmp_path / "page")]
    assert main([*arguments, *outputs]) == 0
    data = json.loads((tmp_path / "rows.json").read_text())
    assert data["versions"]["jax"]
    assert data["reports"][0]["ok"]
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Conv1X1BnReLU" in page
    assert page.count("<svg ") == 1 and "errors of Conv1X1BnReLU by layer" in page
    assert "src=" not in page
    assert "index.html" in capsys.readouterr().out


def test_patterns_choose_blocks_and_variants(capsys):
    assert main(["--blocks", "SqueezeExcite/*", "--checks", "names"]) == 0
    out = capsys.readouterr().out
    assert "SqueezeExcite/default" in out
    assert "SqueezeExcite/hard" in out


def test_dtype_chooses_the_checks(capsys):
    assert main(["--blocks", "Conv1X1BnReLU", "--dtype", "float32"]) == 0
    row = next(x for x in capsys.readouterr().out.splitlines() if "Conv1X1BnReLU" in x)
    assert row.split()[-4] == "-"  # no gradients, which are checked in float64


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("timm/test_resnet", "469,688"),
        pytest.param("mobilenet_v3_small", "2,542,856", marks=pytest.mark.slow),
    ],
)
def test_networks_are_checked_against_their_source(name, count, capsys):
    assert main(["--models", name, "--checks", "names,float64"]) == 0
    row = next(x for x in capsys.readouterr().out.splitlines() if name in x)
    assert row.split()[1:4] == [count, count, "yes"]
    assert float(row.split()[5]) < 1e-10


def test_the_largest_networks_are_checked_by_name(capsys):
    assert main(["--models", "convnext_l*", "--blocks", "Conv1X1BnReLU", "--checks", "names"]) == 0
    out = capsys.readouterr().out
    assert out.count("197,767,336") == 2
    assert "2 of 2 equal to PyTorch, 2 of them by names and shapes only" in out


def test_an_unknown_network_is_answered_with_the_nearest(capsys):
    assert main(["--models", "resnet19"]) == 2
    assert "no network is called 'resnet19'; the nearest are resnet1" in capsys.readouterr().err


def test_a_network_of_ones_own_has_nothing_to_be_compared_with(capsys, monkeypatch):
    monkeypatch.setattr(registry, "_own", {})
    architecture = fb.model_info("resnet18").architecture
    fb.register_model(fb.ModelRecord("only_mine", architecture))
    assert main(["--models", "only_mine"]) == 2
    assert "only_mine has no module at torchvision or timm" in capsys.readouterr().err


def test_a_photograph_of_ones_own(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mine.png")
    assert main([*QUICK, "--image", str(tmp_path / "mine.png")]) == 0


def test_a_pair_of_ones_own(capsys):
    assert main([*PAIR, "tests.helpers.parity_pairs:make_flax", "--checks", "names,float64"]) == 0
    assert "make_torch" in capsys.readouterr().out


def test_names_are_found_written_and_read(tmp_path, capsys):
    pair = [*PAIR, "tests.helpers.parity_pairs:make_renamed_flax", "--checks", "names,float64"]
    names = tmp_path / "names.json"
    assert main([*pair, "--names", str(names)]) == 0
    found = json.loads(names.read_text())
    assert found["features.0.weight"] == "stem.conv.weight"
    assert main([*pair, "--names", str(names)]) == 0
    del found["classifier.bias"]
    names.write_text(json.dumps(found))
    error = refusal([*pair, "--names", str(names)], capsys)
    assert "only PyTorch has classifier.bias (5,)" in error


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"features.9.weight": "stem.conv.weight"}, ["PyTorch has nothing", "features.0.weight"]),
        ({"features": "stam"}, ["JAX has nothing called 'stam'", "stem"]),
        ({"features.0.weight": {"name": "stem.conv.weight", "rows": 3}}, ["rows", "integers"]),
        ({"features.0.weight": {"name": "stem.conv.weight", "transpose": [9]}}, ["cannot become"]),
        ({"features.0.weight": {"name": "stem.conv.weight", "reshape": [9]}}, ["cannot become"]),
        ({"features.0.weight[0:9999]": "stem.conv.weight"}, ["cannot become"]),
        (["features"], ["a JSON file with a mapping"]),
    ],
)
def test_a_map_that_does_not_fit_says_which_name(tmp_path, capsys, entry, words):
    pair = [*PAIR, "tests.helpers.parity_pairs:make_renamed_flax", "--checks", "names"]
    names = tmp_path / "names.json"
    assert main([*pair, "--names", str(names)]) == 0
    found = json.loads(names.read_text())
    names.write_text(json.dumps(found | entry if isinstance(entry, dict) else entry))
    capsys.readouterr()
    error = refusal([*pair, "--names", str(names)], capsys)
    assert all(word in error for word in words), error


def test_a_difference_is_exit_status_1_and_says_why(capsys):
    pair = [*PAIR, "tests.helpers.parity_pairs:make_flax_with_another_eps"]
    assert main([*pair, "--checks", "names,float64"]) == 1
    out = capsys.readouterr().out
    assert "0 of 1 equal" in out
    assert "eps: JAX adds 0.001" in out


@pytest.fixture
def not_an_image(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no picture")
    return str(path)


@pytest.fixture
def nchw(tmp_path):
    path = tmp_path / "nchw.npy"
    np.save(path, np.ones((2, 3, 33, 35), np.float32))
    return str(path)


def refusal(arguments, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("parity: error: ")
    assert len(error.splitlines()) == 1
    return error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--blocks", "MBConf"], ["--blocks", "'MBConf'", "MBConv"]),
        (["--checks", "bitwis"], ["--checks", "'bitwis'", "bitwise"]),
        (["--dtype", "float32", "--checks", "gradients"], ["gradients", "float32"]),
        (["--image", "no/such/photo.jpg"], ["image", "no/such/photo.jpg"]),
        (["--image", "no/such/photo.npy"], ["image", "no/such/photo.npy"]),
        (["--image", "."], ["image"]),
        (["--json", "no/such/folder/rows.json"], ["no/such/folder"]),
        ([*PAIR, "tests.helpers.parity_pairs:nothing"], ["--pair", "nothing"]),
        ([*PAIR, "tests.helpers.parity_pairs"], ["--pair", "pkg.mod:function"]),
        ([*PAIR, "no.such.module:make"], ["--pair", "no.such.module"]),
        ([*PAIR, "tests.helpers.parity_pairs:make_torch"], ["jax_module"]),
        ([*PAIR, "tests.helpers.parity_pairs:make_renamed_flax"], ["line up", "stem.conv.weight"]),
        ([*PAIR, "tests.helpers.parity_pairs:make_flax", "--size", "0"], ["--size"]),
        (["--names", "found"], ["--names", "--pair"]),
        ([*PAIR, "tests.helpers.parity_pairs:make_flax", "--names", "README.md"], ["--names"]),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else None,
)
def test_bad_input_is_one_sentence_and_exit_status_2(arguments, words, capsys):
    error = refusal(arguments, capsys)
    assert all(word in error for word in words), error


def test_a_file_that_is_no_image(not_an_image, capsys):
    assert "not one" in refusal(["--image", not_an_image], capsys)


def test_nchw_says_which_axis_looks_like_channels(nchw, capsys):
    error = refusal([*PAIR, "tests.helpers.parity_pairs:make_flax", "--image", nchw], capsys)
    assert "axis 1" in error
    assert "NCHW" in error


def test_unknown_options_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--color"])
    assert stop.value.code == 2
    assert "--color" in capsys.readouterr().err
