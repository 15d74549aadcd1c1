"""The measuring functions of the chapters, outside their notebooks."""

from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import jupytext
import nbformat

from nclib.experiments.records import Records, as_table
from nclib.experiments.run import Run
from nclib.experiments.studies import STUDIES

ROOT = Path(__file__).resolve().parents[1]
RECORDS = Records(ROOT / "book" / "records")  # those that are committed
Measure = Callable[..., dict[str, Any]]


def chapters() -> list[Path]:
    """The sources of the notebooks with a number, without the front page; those without one are how-to pages."""
    return sorted((ROOT / "notebooks").glob("[0-9]*.py"))[1:]


def chapter(study: str) -> Path:
    """The source of the notebook that measures a study; ValueError of a study that none does."""
    if study in STUDIES:
        for path in chapters():
            if f'"{study}"' in path.read_text(encoding="utf-8"):
                return path
    raise ValueError(f"no chapter measures {study!r}; the studies are {', '.join(STUDIES)}")


def measuring_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """A chapter's code cells up to the last that asks for a study, without those that draw a figure."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    last = max(place for place, cell in enumerate(code) if "run.study" in cell.source)
    return [cell for cell in code[: last + 1] if "figure" not in cell.metadata.get("mystnb", {})]


def measures(source: Path) -> dict[str, Measure]:
    """The function of each study of a chapter, by running its `measuring_cells`; no cell of a study is measured."""
    found: dict[str, Measure] = {}

    def study(run: Run, name: str, measure: Measure):
        found[name] = measure
        return as_table(run.records.select(name, run.scale, run.cells(name)))

    chapter = ModuleType(source.stem)
    # Functions of a module that can be imported are sent to other processes by name; this one cannot.
    chapter.__dict__["__name__"] = "__main__"
    with patch.object(Run, "study", study), chdir(source.parent), redirect_stdout(StringIO()):
        for cell in measuring_cells(jupytext.read(source)):
            lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
            exec(compile("\n".join(lines), source.name, "exec"), chapter.__dict__)
    return found
