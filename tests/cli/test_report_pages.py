"""The pages of reports: readable on a telephone and in the dark."""

import re

import pytest
from matplotlib.figure import Figure

from flaxblocks._base.figure import as_svg
from flaxblocks._base.page import write_page
from flaxblocks.train.run.report import write_report

LOG = [
    {"step": 1, "loss": 2.0, "accuracy": 0.1},
    {"step": 2, "evaluation_loss": 1.0, "evaluation_accuracy": 0.25},
]


def drawn() -> Figure:
    figure = Figure((6, 4))
    figure.subplots().plot([1, 2], "k", label="line")
    return figure


def test_a_figure_fits_its_place_and_takes_the_pages_colors():
    svg = as_svg(drawn(), 'a "line"')
    head = svg[: svg.index(">")]
    assert "viewBox" in head and " width=" not in head and " height=" not in head
    assert 'style="min-width: 432px"' in head  # 6 inches: its text is never less than 10 pixels
    assert "currentColor" in svg and "#000000" not in svg and "#ffffff" not in svg
    assert 'aria-label="a &quot;line&quot;"' in head


def test_figures_are_the_same_each_time():
    assert as_svg(drawn(), "line") == as_svg(drawn(), "line")


@pytest.mark.parametrize("characters", [40, 150])
def test_a_page_says_where_its_table_scrolls(tmp_path, characters):
    facts = {"command": "x" * 300, "<b>": "&"}
    path = write_page(
        tmp_path, "A <title>", facts, lambda c: c.print("y" * characters), [], width=150
    )
    text = path.read_text()
    assert "width=device-width" in text and "color-scheme: light dark" in text
    assert "<dt>&lt;b&gt;</dt><dd>&amp;</dd>" in text and "A &lt;title>" not in text
    found = re.search(r"@media \(max-width: (\d+)px\) { .hint { display: block }", text)
    assert found is not None
    assert 7 * characters < int(found[1]) < 8 * characters + 100
    assert "overflow-wrap: anywhere" in text


def test_a_table_takes_colors_that_are_readable_in_the_dark_too(tmp_path):
    styles = ("red", "bold green", "dim", "cyan")

    def table(console):
        for style in styles:
            console.print(style, style=style)

    text = write_page(tmp_path, "colors", {}, table).read_text()
    used = re.findall(r"style=.color: ([^;]+)[^>]*>(?:red|bold green|dim|cyan)<", text)
    assert used == ["var(--red)", "var(--green)", "var(--gray)", "var(--gray)"]
    assert all(f"--{name}: light-dark(" in text for name in ("red", "green", "gray"))


def test_a_runs_page_has_its_settings_evaluations_and_curves(tmp_path):
    text = write_report(tmp_path, LOG, {"steps": 2, "model": "tiny"}).read_text()
    for said in ("Loss over the run", "Accuracy over the run", "best: 0.25 at step 2", "tiny"):
        assert said in text
    assert "0.2500" in text and "evaluation_accuracy" not in text
