"""A Sphinx extension: buttons for the repository that pyproject.toml names, and each script once on a page."""

import tomllib
from pathlib import Path
from typing import Any

_IN_COLAB = """<p>In Colab, run this in a first cell: <code>!git clone {url} nclib</code>,
<code>%cd nclib/notebooks</code>, <code>%pip install "..[book]"</code>.</p>"""


def repository(app: Any) -> str | None:
    """The Repository of [project.urls], if it has one."""
    project = tomllib.loads((Path(app.srcdir) / "pyproject.toml").read_text())["project"]
    return project.get("urls", {}).get("Repository")


def add_buttons(app: Any, config: Any) -> None:
    """Links to the repository, and to services that run its notebooks."""
    if url := repository(app):
        services = {"colab_url": "https://colab.research.google.com", "binderhub_url": "https://mybinder.org"}
        options = {"repository_url": url, "repository_branch": "main", "launch_buttons": services}
        config.html_theme_options |= options | {"use_repository_button": True, "use_issues_button": True}


def explain_colab(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Say below a notebook what Colab lacks, which opens the notebook alone."""
    if page.startswith("notebooks/") and (url := repository(app)):
        context["body"] += _IN_COLAB.format(url=url)


def keep_needed(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Drop the scripts that would start a server elsewhere (thebe), and doubles, of which a browser complains."""
    once = {f"{script.filename} {script.attributes}".lower(): script for script in context["script_files"]}
    needless = ("thebe", "mathjax") if page.startswith("_modules/") else ("thebe",)  # source code has no formulas
    context["script_files"] = [script for text, script in once.items() if not any(word in text for word in needless)]


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", add_buttons)
    app.connect("html-page-context", explain_colab)
    app.connect("html-page-context", keep_needed, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
