"""How Sphinx builds the site: `sphinx-build -W -n -c docs . site`, after `python docs/build.py`.

The source is the whole repository and every page is plain Markdown, so a link that works on a code host works on the
site. What a code host does not show, the navigation, is here.
"""

import shutil
from pathlib import Path

from sphinx.application import Sphinx

project = "Motrix"
html_show_copyright = False
smartquotes = False
extensions = ["myst_parser"]
myst_heading_anchors = 4  # as a code host names them
include_patterns = ["*.md", "docs/**.md", "benchmarks/**.md", "examples/**.md"]
root_doc = "README"
html_theme = "furo"  # with fonts of the reader's system, so a page asks the network for nothing
html_title = "Motrix"
html_copy_source = False

SECTIONS = {
    "Environments": ["docs/gallery", "docs/environments/README", "docs/terrain", "docs/hierarchy"],
    "Your own": ["docs/vector_env", "docs/own_task", "docs/own_robot", "docs/change_task"],
    "Training": [
        "docs/training",
        "docs/presets",
        "docs/configuration",
        "docs/curriculum",
        "docs/scaling",
        "docs/watching",
        "docs/viewer",
        "docs/export",
        "docs/libraries",
        "benchmarks/learning/README",
        "benchmarks/learning/FINDINGS",
    ],
    "Coming from": [
        "docs/coming_from/motrixlab",
        "docs/coming_from/isaac_lab",
        "docs/coming_from/mujoco_playground",
        "docs/coming_from/dm_control",
        "docs/coming_from/stable_baselines3",
    ],
    "Reference": [
        "docs/api",
        "docs/troubleshooting",
        "docs/determinism",
        "docs/performance",
        "docs/warp",
        "docs/testing",
        "docs/architecture",
        "CONTRIBUTING",
        "CHANGELOG",
    ],
    "Examples": ["examples/balancer/README", "examples/my_dog/README"],
}
NAVIGATION = {root_doc: SECTIONS, "docs/environments/README": {"Families": ["docs/environments/*"]}}


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_navigation)
    app.connect("build-finished", name_folders)


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Ends a page of `NAVIGATION` with what the side bar shows below it."""
    for caption, pages in NAVIGATION.get(page, {}).items():
        options = ":hidden:", ":glob:", f":caption: {caption}"
        source[0] += "\n".join(["", "```{toctree}", *options, "", *(f"/{name}" for name in pages), "```", ""])


def name_folders(app: Sphinx, failure: Exception | None) -> None:
    """Makes each README the page of its folder too, as on a code host; so `index.html` is where the site begins."""
    for page in Path(app.outdir).rglob("README.html"):
        shutil.copyfile(page, page.with_name("index.html"))
