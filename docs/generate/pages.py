"""The pages that are made when the documentation is built."""

from pathlib import Path

from docs.generate.blocks import blocks_page
from docs.generate.bounds import bounds_table
from docs.generate.networks import networks_page
from docs.generate.reference import reference_pages


def write_pages(folder: Path) -> None:
    """Write every generated page into a folder; what has not changed is left as it is."""
    (folder / "api").mkdir(parents=True, exist_ok=True)
    pages = {"blocks": blocks_page(), "networks": networks_page(), "bounds": bounds_table()}
    pages |= {f"api/{name}": text for name, text in reference_pages().items()}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
