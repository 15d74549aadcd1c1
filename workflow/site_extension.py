"""A Sphinx extension: prose of notebooks, links to the repository, scripts once a page, and what was measured live."""

import html
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pandas as pd
from docutils import nodes

from nclib.experiments.addresses import addresses
from nclib.experiments.run import LIVE_FOLDER

_IN_COLAB = """<p>In Colab, run this in a first cell: <code>!git clone {url} nclib</code>,
<code>%cd nclib/notebooks</code>, <code>%pip install "..[book]"</code>.</p>"""

_MAGIC = re.compile(r"^%(?:%bash|matplotlib\b.*)(?:\n+|\Z)", re.M)


def repository(app: Any) -> str | None:
    """Where the repository of a book is on the web, if that is known."""
    return addresses(Path(app.srcdir)).get("Repository")


def show_source(app: Any, page: str, content: list[str]) -> None:
    """Give a notebook the prose of its source, whose roles the .ipynb has in plain Markdown."""
    source = Path(app.srcdir, f"{page}.py")
    if not source.exists():
        return
    app.env.note_dependency(str(source))
    notebook = nbformat.reads(content[0], as_version=4)
    prose = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "markdown" and "remove-cell" not in cell.metadata.get("tags", [])
    ]
    written = [cell for cell in jupytext.read(source).cells if cell.cell_type == "markdown"]
    if len(prose) != len(written):
        raise ValueError(f"{page}.ipynb is not that of its source: run python -m workflow.execute {page}.py")
    for cell, original in zip(prose, written, strict=True):
        cell.source = original.source
    content[0] = nbformat.writes(notebook)


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
    """Drop the scripts that would start a server elsewhere (thebe), and doubles, which a browser complains of."""
    once = {f"{script.filename} {script.attributes}".lower(): script for script in context["script_files"]}
    needless = ("thebe", "mathjax") if page.startswith("_modules/") else ("thebe",)  # source code has no formulas
    context["script_files"] = [script for text, script in once.items() if not any(word in text for word in needless)]


def hide_magics(app: Any, doctree: Any) -> None:
    """Show code and commands without the magics that run them in Jupyter; below %%bash they are those of a shell."""
    for block in list(doctree.findall(nodes.literal_block)):
        text = block.astext()
        if "cell_input" in block.parent.get("classes", ()) and (shown := _MAGIC.sub("", text)) != text:
            language = {"language": "bash"} if text.startswith("%%bash") else {}
            block.replace_self(nodes.literal_block(shown, shown, **(block.attributes | language)))


def show_live(app: Any, doctree: Any) -> None:
    """Below a cell that measured live, a table of what it found, which the notebook does not hold."""
    for cell in list(doctree.findall(lambda node: "tag_live" in getattr(node, "attributes", {}).get("classes", ()))):
        studies = dict.fromkeys(re.findall(r'"(\w+)"', cell.astext()))
        files = [Path(app.srcdir, LIVE_FOLDER, f"{study}.csv") for study in studies]
        for path in files:
            app.env.note_dependency(str(path))  # so that the page is built again when it is measured again
        if files := [path for path in files if path.exists()]:
            cell.parent.insert(cell.parent.index(cell) + 1, nodes.raw("", measured_live(files), format="html"))


def measured_live(files: list[Path]) -> str:
    """The files of live cells as one HTML table, with the processors that measured them; unfolded if one differs."""
    found = pd.concat([pd.read_csv(path).assign(study=path.stem) for path in files])
    machines = " and ".join(found["processor"].unique())
    shown = found[["study", "metric", "recorded", "now", "apart", "tolerance", "agrees"]]
    table = shown.to_html(index=False, border=0, classes="dataframe", float_format="{:.6g}".format)
    fold = "details" if found["agrees"].all() else "details open"
    said = f"<summary>Measured for this page on {html.escape(machines)}</summary>"
    return f'<div class="cell_output"><{fold}>{said}{table}</details></div>'


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", add_buttons)
    app.connect("source-read", show_source)
    app.connect("doctree-read", hide_magics)
    app.connect("doctree-read", show_live)
    app.connect("html-page-context", explain_colab)
    app.connect("html-page-context", keep_needed, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
