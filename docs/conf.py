"""How the documentation is built: ``sphinx-build -W docs docs/_build/html``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import flaxblocks
from docs.generate.pages import write_pages

project = "flaxblocks"
author = "flaxblocks contributors"
release = flaxblocks.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "myst_nb"]
exclude_patterns = ["_build", "generate", "generated/bounds.md"]

html_theme = "sphinx_book_theme"
html_title = "flaxblocks"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_theme_options = {
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "use_download_button": False,
    "navbar_persistent": [],
}
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests execute the notebooks
# What stands in single backticks is a name of ours where there is one of it, else code.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes and units
napoleon_custom_sections = ["Source"]


def setup(app):
    """Make the generated pages before any page is read."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "generated"))
