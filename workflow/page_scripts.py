"""A Sphinx extension: each script once on a page, and none that would start a server elsewhere (thebe)."""

from typing import Any


def keep_needed(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Jupyter Book adds its extensions' scripts twice, and a browser complains of the second declaration."""
    once = {f"{script.filename} {script.attributes}".lower(): script for script in context["script_files"]}
    needless = ("thebe", "mathjax") if page.startswith("_modules/") else ("thebe",)  # source code has no formulas
    context["script_files"] = [script for text, script in once.items() if not any(word in text for word in needless)]


def setup(app: Any) -> dict[str, bool]:
    app.connect("html-page-context", keep_needed, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
