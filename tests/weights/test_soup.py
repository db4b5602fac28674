"""Averages of weights: the mean, the greedy soup, and the folder that the command writes."""

import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.cli import main
from flaxblocks.weights.card import Card
from flaxblocks.weights.soup import greedy_soup, mean_weights
from tests.helpers.tiny_training import PREPROCESS, make_images, register_tiny


def weights(*values: float) -> list[dict[str, np.ndarray]]:
    return [{"w": np.array([v, 2 * v], np.float32), "n": np.array(v, np.int64)} for v in values]


def test_the_mean_is_of_all_and_counts_are_the_first_ones():
    found = mean_weights(weights(1, 2, 6))
    assert found["w"].tolist() == [3, 6] and found["w"].dtype == np.float32
    assert found["n"] == 1


def test_a_greedy_soup_takes_what_makes_it_better():
    def judge(state_dict) -> float:
        return -abs(float(state_dict["w"][0]) - 3)

    mean, chosen, best = greedy_soup(weights(1, 4, 9, 2), judge)
    assert chosen == [1, 3]  # 4 and 2 are the closest to 3; with 1 or 9 the mean is further off
    assert (mean["w"][0], best) == (3, 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "must be one or more, got none"),
        ([{"a": np.ones(2)}, {"b": np.ones(2)}], "must be of one network, and differ in a"),
        ([{"a": np.ones(2)}, {"a": np.ones(3)}], "must be of one network, and differ in a"),
    ],
)
def test_what_cannot_be_averaged_is_one_sentence(given, words):
    with pytest.raises(ValueError, match=words):
        mean_weights(given)


@pytest.fixture
def runs(tmp_path) -> list[str]:
    register_tiny()
    for seed in range(2):
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        model = fb.create_model("tiny", num_classes=3, rngs=nnx.Rngs(seed))
        fb.save_weights(model, folder / "model.safetensors")
        Card("tiny", 3, PREPROCESS, classes=("a", "b", "c")).write(folder)
    return [str(tmp_path / f"run{seed}") for seed in range(2)]


def test_the_command_writes_a_run_that_can_be_used(runs, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["average", *runs, "--out", str(out)]) == 0
    assert f"{out}: the mean of {runs[0]}, {runs[1]}" in capsys.readouterr().out
    found = fb.load_run(out)
    parts = [fb.state_dict(fb.load_run(run).model) for run in runs]
    got = fb.state_dict(found.model)
    assert all(np.array_equal(array, mean_weights(parts)[name]) for name, array in got.items())
    assert found.classes == ("a", "b", "c")


def test_the_command_is_greedy_where_it_has_images(runs, tmp_path, capsys):
    images = make_images(tmp_path / "images", per_class=4)
    command = ["average", *runs, "--data", str(images), "--batch-size", "4"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "the mean of" in told and "accuracy" in told


def test_runs_of_several_networks_are_refused(runs, tmp_path, capsys):
    Card("tiny", 3, PREPROCESS, classes=("a", "b", "d")).write(runs[1])
    assert main(["average", *runs, "--out", str(tmp_path / "out")]) == 2
    assert f"one network and classes, {runs[1]} is of others" in capsys.readouterr().err
    assert main(["average", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "has no model.json" in capsys.readouterr().err
