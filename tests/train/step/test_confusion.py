"""The matrix of confusions, and what follows from it for each class."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from flaxblocks.cli.report import write_report
from flaxblocks.train import confusion_scores, precision_and_recall
from flaxblocks.train.run.plot import best

LABELS = np.array([0, 1, 2, 2, 0, 1, 2, 0])
ANSWERS = np.array([0, 2, 2, 1, 0, 2, 2, 2])
WEIGHTS = np.array([1, 1, 1, 1, 1, 1, 1, 0])


def scores() -> dict[str, np.ndarray]:
    logits = jnp.eye(4)[ANSWERS]
    batch = {"image": jnp.zeros(8), "label": jnp.asarray(LABELS), "weight": jnp.asarray(WEIGHTS)}
    return {n: np.asarray(v) for n, v in confusion_scores(lambda image: logits, batch).items()}


def test_confusions_are_counted_as_scikit_learn_does():
    from sklearn.metrics import confusion_matrix, precision_score, recall_score

    found = scores()
    rows = WEIGHTS > 0
    truth = confusion_matrix(LABELS[rows], ANSWERS[rows], labels=range(4))
    assert np.array_equal(found["confusion"], truth)
    assert found["accuracy"] == np.trace(truth)
    assert found["count"] == truth.sum()
    precision, recall = precision_and_recall(truth)
    options = {"labels": range(4), "average": None, "zero_division": np.nan}
    expected = precision_score(LABELS[rows], ANSWERS[rows], **options)
    np.testing.assert_allclose(precision, expected, rtol=1e-12)
    expected = recall_score(LABELS[rows], ANSWERS[rows], **options)
    np.testing.assert_allclose(recall, expected, rtol=1e-12)


def test_a_report_is_numbers_and_a_picture(tmp_path):
    write_report(tmp_path / "r", {"accuracy": 0.5}, scores()["confusion"], ("a", "b", "c", "d"))
    content = json.loads((tmp_path / "r" / "evaluation.json").read_text())
    assert content["accuracy"] == 0.5
    assert content["classes"][1] == {"name": "b", "images": 2, "precision": 0.0, "recall": 0.0}
    assert content["classes"][3] == {"name": "d", "images": 0, "precision": None, "recall": None}
    assert content["confusion"] == scores()["confusion"].tolist()
    page = (tmp_path / "r" / "index.html").read_text()
    assert page.count("<svg ") == 1 and "Confusions" in page and "recall" in page


@pytest.mark.parametrize(("quantity", "expected"), [("loss", (2, 1.0)), ("accuracy", (3, 2.0))])
def test_the_best_evaluation_is_marked(quantity, expected):
    assert best([(1, 1.5), (2, 1.0), (3, 2.0), (4, 1.0)], quantity) == expected
