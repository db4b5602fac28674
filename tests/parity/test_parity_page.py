"""The page shows both programs side by side, each layer's agreement as a color."""

from html.parser import HTMLParser

from parity import Report, Row
from parity.report.track import track

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


class Texts(HTMLParser):
    """Collects what a page shows and the colors of its marks."""

    def __init__(self):
        super().__init__()
        self.texts, self.colors = [], []

    def handle_data(self, data):
        self.texts.append(data)

    def handle_starttag(self, tag, attrs):
        self.colors += [value for name, value in attrs if tag == "i" and name == "style"]


def test_a_layer_has_both_names_its_numbers_and_a_color():
    page = Texts()
    page.feed(track(Report("mine", ROWS, ("eps: <1>",), names=NAMES)))
    assert page.texts[:2] == ["mine", "eps: <1>"]
    assert "features.0" in page.texts and "stem.conv" in page.texts
    assert page.texts.count("the whole module") == 2  # on both sides, in eval mode
    whole = page.texts.index("head")
    assert page.texts[whole - 1] == "end"  # what holds end.fc
    assert "off by 5.0e-01 of the layer's scale, at most 1.0e-10" in page.texts
    green, red = "background:hsl(130 70% 45%)", "background:hsl(0 70% 45%)"
    assert page.colors == [green, green, green, red]


def test_nothing_is_shown_where_nothing_was_compared():
    assert track(Report("mine", ())) == ""
