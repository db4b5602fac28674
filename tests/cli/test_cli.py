"""`flaxblocks`: what it prints and returns, and how it refuses bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.models import get_model, get_model_weights
from torchvision.models._meta import _IMAGENET_CATEGORIES

import flaxblocks as fb
from flaxblocks.cli import main
from flaxblocks.imagenet import class_names
from parity.photo import SAMPLE
from tests.helpers.networks import PUBLISHED

ROOT = Path(__file__).parents[2]
PHOTO = str(SAMPLE)


def table(out: str) -> dict[str, list[str]]:
    """Return the cells of each row of the tables, by the first cell."""
    rows = (line.split() for line in out.splitlines() if line.strip())
    return {first: cells for first, *cells in rows}


def test_it_runs_as_a_command():
    command = [sys.executable, "-W", "error", "-m", "flaxblocks", "models", "mnasnet0*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert table(done.stdout)["mnasnet0_5"][:5] == ["2,218,512", "104.5", "M", "224", "67.73"]
    assert "2 networks" in done.stdout


def test_models_lists_what_a_pattern_matches(capsys):
    assert main(["models", "mobilenet_v*"]) == 0
    rows = table(capsys.readouterr().out)
    names = fb.list_models("mobilenet_v*")
    assert [name for name in rows if name in PUBLISHED] == names
    for name in names:
        assert rows[name][0] == f"{PUBLISHED[name]:,}"
    assert rows["mobilenet_v2"][1:] == "300.8 M 224 72.15 Sandler et al. 2018".split()


def test_models_traces_nothing(capsys, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a network was made")

    monkeypatch.setattr(fb, "create_model", refuse)
    monkeypatch.setattr("flaxblocks.models.backbone.Backbone.__init__", refuse)
    assert main(["models"]) == 0
    assert f"{len(fb.list_models())} networks" in capsys.readouterr().out


def test_models_shows_the_weights_of_one(capsys):
    assert main(["models", "resnet50"]) == 0
    assert capsys.readouterr().out == f"{fb.model_info('resnet50')}\n"


def test_models_as_json(capsys):
    assert main(["models", "mnasnet0_5", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["parameters"], row["source"]) == ("mnasnet0_5", 2218512, "torchvision")
    assert row["multiply_adds"] == 104455968
    assert row["paper"] == "Tan et al. 2019 (MnasNet)"
    assert row["preprocess"]["crop"] == 224
    assert [weights["tag"] for weights in row["weights"]] == ["IMAGENET1K_V1"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50", "He et al. 2016"),
        ("resnext50_32x4d", "Xie et al. 2017 (ResNeXt)"),
        ("wide_resnet50_2", "Zagoruyko and Komodakis 2016 (Wide-ResNet)"),
        ("efficientnet_b0", "Tan and Le 2019"),
        ("efficientnet_v2_s", "Tan and Le 2021 (EfficientNetV2)"),
        ("mnasnet1_0", "Tan et al. 2019 (MnasNet)"),
    ],
)
def test_the_paper_is_the_networks_own(name: str, expected: str):
    assert fb.model_info(name).paper == expected


def test_summary_shows_the_blocks_and_their_sums(capsys):
    assert main(["summary", "convnext_tiny", "--num-classes", "7", "--input-size", "96"]) == 0
    out = capsys.readouterr().out
    rows = table(out)
    assert rows["stem"] == "Stem 24 x 24 x 96 4 4,896 2.654 M".split()
    assert rows["stages.1.downsample"][:7] == "NormConv 12 x 12 x 192 8".split()
    assert rows["stages.3.blocks.2"][:7] == "ConvNeXtBlock 3 x 3 x 768 32".split()
    assert rows["head"][:3] == ["Head", "7", "6,919"]
    assert rows["total"][0] == "27,825,511"
    assert len([path for path in rows if ".blocks." in path]) == 18
    assert "at 96 x 96 pixels, in float32: 111 MB of parameters, 0 MB of statistics" in out


def test_summary_takes_the_native_resolution(capsys):
    assert main(["summary", "efficientnet_b1"]) == 0
    out = capsys.readouterr().out
    assert table(out)["stem"][:6] == "Stem 120 x 120 x 32".split()
    assert table(out)["total"] == ["7,794,184", "686.8", "M"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Weights of a network as torchvision has them, in a file."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    torch.manual_seed(0)
    save_file(get_model("resnet18").state_dict(), path)
    return path


def truth(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return torchvision's five likeliest classes for the photograph, and their probabilities."""
    network = get_model("resnet18").eval()
    network.load_state_dict(load_file(path))
    with Image.open(SAMPLE) as photo, torch.no_grad():
        x = get_model_weights("resnet18")["DEFAULT"].transforms()(photo)
        probabilities, classes = network(x[None])[0].softmax(0).topk(5)
    return classes.numpy(), probabilities.numpy()


def test_classify_says_what_torchvision_says(weights, capsys):
    assert main(["classify", PHOTO, "--model", "resnet18", "--weights", str(weights)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if " %" in line]
    classes, probabilities = truth(weights)
    assert [int(row[2]) for row in rows] == classes.tolist()
    assert [float(row[0]) for row in rows] == pytest.approx(100 * probabilities, abs=0.006)
    assert [" ".join(row[3:]) for row in rows] == [_IMAGENET_CATEGORIES[c] for c in classes]


def test_classify_prepares_as_the_weights_ask(weights, tmp_path, capsys):
    """The name of torchvision's file says which weights it holds; an option says it too."""
    network = get_model("mobilenet_v2", num_classes=3)
    path = tmp_path / "mobilenet_v2-b0353104.pth"
    torch.save(network.state_dict(), path)
    command = ["classify", PHOTO, "--model", "mobilenet_v2", "--top", "9", "--weights", str(path)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "resized to 256" in out
    assert out.count(" %") == 3
    assert "name" not in out
    assert main([*command, "--preprocess", "IMAGENET1K_V2"]) == 0
    assert "resized to 232" in capsys.readouterr().out


def test_the_classes_are_called_what_torchvision_calls_them():
    assert class_names() == tuple(_IMAGENET_CATEGORIES)


def test_convert_renames_and_keeps_every_value(weights, tmp_path, capsys):
    there, back = tmp_path / "native.pth", tmp_path / "back.safetensors"
    command = ["--model", "resnet18", "--to"]
    assert main(["convert", str(weights), str(there), *command, "native"]) == 0
    assert "122 tensors with 11,689,512 parameters" in capsys.readouterr().out
    assert "stem.layers.0.conv.weight" in torch.load(there)
    assert main(["convert", str(there), str(back), *command, "torchvision"]) == 0
    before, after = load_file(weights), load_file(back)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.fixture
def bad(weights, tmp_path, monkeypatch):
    """A folder with files that are not what they should be."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "weights.safetensors").symlink_to(weights)
    (tmp_path / "broken.safetensors").write_text("no weights")


CLASSIFY = ["classify", PHOTO, "--model", "resnet18", "--weights", "weights.safetensors"]
CONVERT = ["convert", "weights.safetensors", "out.pth", "--model", "resnet18"]
NAMES = ["--to", "native"]


def but(arguments: list[str], old: str, new: str) -> list[str]:
    assert old in arguments
    return [new if argument == old else argument for argument in arguments]


REFUSED = [
    (["models", "resnet19"], ["'resnet19'", "nearest", "resnet18"]),
    (["models", "nothing*"], ["'nothing*'"]),
    (["summary", "efficientnet_b8"], ["'efficientnet_b8'", "efficientnet_b7"]),
    (["summary", "convnext_tiny", "--input-size", "20"], ["--input-size", "20", "downsample"]),
    (but(CLASSIFY, "resnet18", "resnet19"), ["'resnet19'", "resnet18"]),
    (but(CLASSIFY, PHOTO, "no.jpg"), ["no.jpg"]),
    (but(CLASSIFY, PHOTO, "notes.txt"), ["notes.txt", "image"]),
    (but(CLASSIFY, PHOTO, "."), ["directory"]),
    (but(CLASSIFY, "weights.safetensors", "no.pth"), ["no.pth", "does not exist"]),
    (but(CLASSIFY, "weights.safetensors", "broken.safetensors"), ["broken.safetensors"]),
    (but(CLASSIFY, "weights.safetensors", "torchvision:resnet50/IMAGENET1K_V1"), ["resnet50"]),
    (but(CLASSIFY, "weights.safetensors", "torchvision:resnet18/V9"), ["V9", "IMAGENET1K_V1"]),
    (
        but(CLASSIFY, "resnet18", "resnet34"),
        ["does not fit resnet34", "as many parameters as resnet18", "missing", "..."],
    ),
    (but(CLASSIFY, "weights.safetensors", "IMAGENET1K_V2"), ["IMAGENET1K_V2", "IMAGENET1K_V1"]),
    ([*CLASSIFY, "--preprocess", "V2"], ["V2", "IMAGENET1K_V1"]),
    (but([*CONVERT, *NAMES], "out.pth", "weights.safetensors"), ["OUT", "IN"]),
    (but([*CONVERT, *NAMES], "out.pth", "out.txt"), ["out.txt", ".safetensors"]),
    (but([*CONVERT, *NAMES], "out.pth", "no/out.pth"), ["no"]),
]


@pytest.mark.parametrize(
    ("arguments", "words"),
    REFUSED,
    ids=[" ".join(arguments).replace(PHOTO, "photo")[:90] for arguments, _ in REFUSED],
)
def test_bad_input_is_one_sentence_and_exit_status_2(arguments, words, bad, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("flaxblocks: error: ")
    assert len(error.splitlines()) == 1
    assert all(word in error for word in words), error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["summary", "resnet18", "--input-size", "-3"], "a positive integer, got '-3'"),
        ([*CLASSIFY, "--top", "many"], "a positive integer, got 'many'"),
        ([*CONVERT, "--to", "keras"], "invalid choice: 'keras'"),
    ],
)
def test_bad_arguments_are_argparses_own_error(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_a_conversion_that_went_wrong_is_no_success(bad, monkeypatch, capsys):
    def save_zeros(module, path, names):
        zeros = {name: np.zeros_like(a) for name, a in fb.state_dict(module, names).items()}
        torch.save({name: torch.from_numpy(a) for name, a in zeros.items()}, path)
        return Path(path)

    monkeypatch.setattr(fb, "save_weights", save_zeros)
    assert main([*CONVERT, *NAMES]) == 2
    assert "differs from IN" in capsys.readouterr().err
