"""The page shows both programs side by side, each layer's and operation's agreement as a color."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from flax import nnx

from parity import Report, Row, compare
from parity.report.rows import Step
from parity.report.track import track
from tests.helpers.user_faults import tanh_gelu
from tests.helpers.user_net import SHAPE, FlaxNet, TorchNet

ROWS = (
    Row.judged("float64", "stem.conv (eval, input 0)", 1e-16, 1e-10),
    Row.judged("float64", "head.fc (eval, input 0)", 1e-16, 1e-10),
    Row.judged("float64", "head (eval, input 0)", 1e-16, 1e-10),
    Row.judged("float64", "the whole module (eval, input 0)", 0.5, 1e-10),
    Row.judged("float64", "the whole module (train, input 0)", 0.5, 1e-10),
)
NAMES = {
    "features.0.weight": "stem.conv.weight",
    "end.fc.bias": "head.fc.bias",
    "a": {"name": "b", "rows": [0, 1]},
}
STEPS = (
    Step("conv2d", "features.0", "stem.conv", "stem.conv", "", "equal", 1e-16, (("conv", "b:1"),)),
    Step("relu", "features", "stem", "stem (a.py:7)", "a.py:7", "joined"),
    Step("max_pool2d", "", "", "the whole module (a.py:8)", "a.py:8", "differs"),
    Step("linear", "end.fc", "head.fc", "head.fc", "", "differs"),
)
GREEN, RED, GRAY = "hsl(130 70% 38%)", "hsl(0 70% 38%)", "gray"


class Rows(HTMLParser):
    """Collects the texts of each row, the color of its mark, and whether it is open."""

    def __init__(self):
        super().__init__()
        self.rows, self.before = [], []

    def handle_data(self, data):
        (self.rows[-1][2] if self.rows else self.before).append(data)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "details":
            self.rows.append(["", "open" in attributes, []])
        if tag == "i":
            style = attributes.get("style") or ""
            gray = GRAY if attributes.get("class") == "joined" else ""
            self.rows[-1][0] = style.removeprefix("background:") or gray


def rows_of(report):
    page = Rows()
    page.feed(track(report))
    return page.before, page.rows[1:]  # the first names both sides


def test_a_layer_has_both_names_its_numbers_and_a_color():
    before, rows = rows_of(Report("mine", ROWS, ("eps: <1>",), names=NAMES))
    assert before[:2] == ["mine", "eps: <1>"]
    assert before[2].startswith("FAIL  float64") and "5.0e-01 of 1.0e-10" in before[2]
    assert [texts[:2] for _, _, texts in rows[:2]] == [
        ["features.0", "stem.conv"],
        ["end.fc", "head.fc"],
    ]
    assert rows[2][2][:2] == ["end", "head"]  # what holds end.fc
    assert rows[3][2][:3] == ["≠", "the whole module", "the whole module"]  # in eval mode
    assert "off by 5.0e-01 of the layer's scale, at most 1.0e-10" in rows[3][2]
    assert [color for color, _, _ in rows] == [GREEN, GREEN, GREEN, RED]


def test_operations_stand_between_the_modules_with_what_is_said_of_them():
    places = (("the whole module (a.py:8)", "stem.conv"),)
    causes = ("pooling: another", "no place")
    _, rows = rows_of(Report("mine", ROWS, causes, names=NAMES, places=places, operations=STEPS))
    firsts = ["features.0", "relu", "max_pool2d", "end.fc", "end", "the whole module"]
    assert [next(text for text in texts if text != "≠") for _, _, texts in rows] == firsts
    assert [color for color, _, _ in rows] == [GREEN, GRAY, RED, GREEN, GREEN, RED]
    assert [opened for _, opened, _ in rows] == [False, False, True, False, False, False]
    assert rows[0][2][:4] == ["≠", "features.0", "conv2d", "stem.conv"]
    assert "conv · b:1" in rows[0][2] and "JAX computes it by: conv, b:1" in rows[0][2]
    assert "features · a.py:7" in rows[1][2]
    assert [("pooling: another" in texts) for _, _, texts in rows] == [True, False, True, *3 * [0]]


def test_what_differs_is_said_where_no_outputs_were_compared():
    rows = (Row.judged("names", "stem.weight <2>", 1, 0, "only in PyTorch"),)
    shown = track(Report("mine", rows, ("no likely cause found",)))
    assert shown.startswith("<h2>mine</h2><p>no likely cause found</p><ul class='checks'><li>FAIL")
    assert "stem.weight &lt;2&gt;; only in PyTorch" in shown
    assert "<ol" not in shown


def test_nothing_is_shown_where_nothing_was_compared():
    assert track(Report("mine", ())) == ""


@pytest.mark.usefixtures("quick")
def test_operations_of_both_programs_are_recorded_along_the_data():
    port = FlaxNet(nnx.Rngs(0))
    tanh_gelu(port)
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    report = compare(TorchNet(), port, x, checks=("names", "float64"))
    kinds = [step.kind for step in report.operations]
    first = ["conv2d", "batch_norm", "relu", "sub", "max_pool2d", "conv2d", "group_norm", "gelu"]
    assert kinds[:8] == first
    assert {step.state for step in report.operations[:7]} == {"equal"}
    assert {step.state for step in report.operations[7:]} == {"differs"}
    gelu = report.operations[7]
    assert report.places == ((gelu.place,),)
    assert gelu.line.startswith("user_net.py:")
    assert "tanh" in [kind for kind, _ in gelu.beside]
    pooled = report.operations[4].beside[-1]
    assert pooled[0] == "reduce_window_max" and pooled[1].startswith("user_net.py:")
    assert Report.from_dict(json.loads(report.to_json())) == report


@pytest.mark.usefixtures("quick")
def test_operations_of_an_equal_pair_are_recorded_where_they_are_wanted():
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    report = compare(TorchNet(), FlaxNet(nnx.Rngs(0)), x, checks=("float64",), operations=True)
    assert report.ok
    assert {step.state for step in report.operations} <= {"equal", "laid out", "joined"}
    assert max(step.error or 0 for step in report.operations) < 1e-9
