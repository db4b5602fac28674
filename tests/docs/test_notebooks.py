"""The notebooks run, and what is stored of their outputs is small and without errors."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("quick")

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
SLOW = ("fine_tune", "check_a_port")  # the pages of the same name run the like by default
NOTEBOOKS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else [])
    for path in sorted(FOLDER.glob("*.ipynb"))
]


def code_cells(path: Path) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_it_runs(path):
    names = {"__name__": path.stem}
    for number, cell in enumerate(code_cells(path)):
        exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_what_is_stored_is_small_and_whole(path):
    cells = code_cells(path)
    assert len(path.read_bytes()) < 20_000
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])
