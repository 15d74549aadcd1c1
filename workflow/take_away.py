"""A Sphinx extension: what a reader takes away. Below every figure its data and code, below every chapter all records.

The data of a figure are in the metadata of its picture, see `nclib.experiments.pictures`. A point whose network or
model they name says so under the mouse; `book/_static/points.js` lets touch and keyboard ask, too.
"""

import ast
import base64
import html
import importlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from docutils import nodes
from PIL import Image
from sphinx import addnodes
from sphinx.ext import viewcode

from nclib.experiments.drawn import IDENTITY
from nclib.experiments.pictures import KEY, unpacked
from nclib.experiments.records import read_records, whole_table
from nclib.experiments.scales import SCALES
from nclib.experiments.studies import STUDIES
from nclib.storage import replacing

FIGURES = "nclib.experiments.figures"  # where the functions that draw are
DATA, RECORDS = Path("_build") / "figures", Path("_build") / "records"
LARGE = 20_000  # rows; more, such as the pixels of pictures, are zipped
NAMES = {"source", "panel", "model", "zoo", "task", "method", "seed", "commit"}  # the rest of IDENTITY are settings
ALWAYS = NAMES - {"panel", "zoo"}  # what a point says even if all say the same


def write_records(app: Any) -> None:
    """All records as CSV, one file a study and scale."""
    for path in Path(app.srcdir, "book", "records").glob("*.jsonl"):
        if not path.name.endswith(".failed.jsonl"):
            _write(whole_table(read_records(path)), Path(app.srcdir, RECORDS, f"{path.stem}.csv"))


def _write(rows: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, zipped if its path says so."""
    zipped = {"method": "zip", "archive_name": path.stem} if path.suffix == ".zip" else None
    with replacing(path) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.9g", compression=zipped)


def offer(app: Any, doctree: Any) -> None:
    """Put links to data and code below the figures of a notebook, and to all records at its end."""
    source = Path(app.env.doc2path(app.env.docname))
    if source.suffix != ".ipynb":
        return
    notebook = nbformat.read(source, as_version=4)
    figures = {name: figure for figure in doctree.findall(nodes.figure) for name in figure["names"]}
    for cell in notebook.cells:
        name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        if name in figures:
            figure = figures[name]
            line = _below(app, doctree, figure, name, cell, drawing_function(notebook, cell))
            figure.parent.insert(figure.parent.index(figure) + 1, line)
    if links := list(_record_links(app, notebook)):
        said = nodes.paragraph("", "All records behind this chapter (CSV): ", *links, classes=["take-away"])
        next(doctree.findall(nodes.section)).append(said)


def _below(app: Any, doctree: Any, figure: Any, name: str, cell: Any, function: tuple[str, str] | None) -> Any:
    """A line with links to data and code and, if the points of the figure say what they are, room for that."""
    line, rows = nodes.paragraph(classes=["take-away"]), data_of(cell)
    if rows is not None:
        line += [_download(app, _data_file(app, name, rows), "Data (CSV)"), nodes.Text(" · ")]
    line += _code_link(app, doctree, line, function)
    if rows is not None and "left" in rows:
        _lay_over(figure, layer(rows, *_size(cell)))
        line += nodes.raw("", "<output></output>", format="html")
    return line


def _data_file(app: Any, name: str, rows: pd.DataFrame) -> Path:
    """Write the data of a figure; the file, below the source folder."""
    path = DATA / (f"{name}.csv.zip" if len(rows) > LARGE else f"{name}.csv")
    _write(rows.drop(columns=["left", "top"], errors="ignore"), Path(app.srcdir, path))
    return path


def _picture(cell: Any) -> Any:
    """The output of a cell that is a picture; an empty one if it has none."""
    return next((each for each in cell.get("outputs", []) if "image/png" in each.get("data", {})), {})


def data_of(cell: Any) -> pd.DataFrame | None:
    """The data that the picture of a cell carries, if it carries any."""
    packed = _picture(cell).get("metadata", {}).get("image/png", {}).get(KEY)
    return unpacked(packed) if packed else None


def _size(cell: Any) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(_picture(cell)["data"]["image/png"]))).size


def _download(app: Any, path: Path, text: str) -> addnodes.download_reference:
    """A link to a file below the source folder, which Sphinx copies to the site."""
    target = os.path.relpath(path, Path(app.env.docname).parent)
    return addnodes.download_reference("", text, reftarget=Path(target).as_posix(), refdoc=app.env.docname)


def _record_links(app: Any, notebook: Any) -> Iterator[Any]:
    """Links to the records of every study that the code of a notebook names, with commas between them."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    named = [study for study in STUDIES if re.search(rf"""["']{study}["']""", code)]
    files = [RECORDS / f"{study}-{scale}.csv" for study in named for scale in SCALES]
    for number, path in enumerate(path for path in files if Path(app.srcdir, path).exists()):
        yield from [nodes.Text(", ")] if number else []
        yield _download(app, path, path.stem.replace("-", ", "))


def drawing_function(notebook: Any, cell: Any) -> tuple[str, str] | None:
    """The module and name of the function of `FIGURES` that a cell draws with, the last if there are several."""
    names = imported(notebook)
    calls = [node for node in ast.walk(_parsed(cell)) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        first, *rest = ast.unparse(call.func).split(".")
        module, _, name = ".".join([names.get(first, ""), *rest]).rpartition(".")
        if module.startswith(FIGURES) and hasattr(importlib.import_module(module), name):
            return module, name
    return None


def imported(notebook: Any) -> dict[str, str]:
    """What the names that a notebook imports stand for, with their modules."""
    found: dict[str, str] = {}
    for cell in notebook.cells:
        for node in ast.walk(_parsed(cell)):
            if isinstance(node, ast.ImportFrom):
                found |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
            elif isinstance(node, ast.Import):
                found |= {each.asname: each.name for each in node.names if each.asname}
    return found


def _parsed(cell: Any) -> ast.Module:
    """The code of a cell without IPython's commands; nothing of a cell of text, or in another language."""
    python = cell.cell_type == "code" and not cell.source.startswith("%%")
    lines = cell.source.splitlines() if python else []
    return ast.parse("\n".join(line for line in lines if not line.startswith(("%", "!"))))


def _code_link(app: Any, doctree: Any, line: Any, function: tuple[str, str] | None) -> nodes.raw:
    """A link to the source of a function, on the pages of viewcode, or else to the notebook."""
    page = f"_sources/{app.env.docname}.ipynb"
    if function and "sphinx.ext.viewcode" in app.extensions and _has_page(app, *function):
        page = f"_modules/{function[0].replace('.', '/')}.html#{function[1]}"
        anchor = ".".join(function)  # to which the function's page leads back
        if anchor not in doctree.ids:
            doctree.ids[anchor] = line
            line["ids"].append(anchor)
    link = os.path.relpath(page, Path(app.env.docname).parent)
    return nodes.raw("", f'<a class="reference internal" href="{Path(link).as_posix()}">Code</a>', format="html")


def _has_page(app: Any, module: str, name: str) -> bool:
    """Make viewcode show a function as if it were documented here; whether it can."""
    signature = addnodes.desc_signature(module=module, fullname=name)
    viewcode.doctree_read(app, addnodes.desc("", signature, domain="py"))
    return len(signature) > 0


def _lay_over(figure: Any, drawing: str) -> None:
    """Put a drawing over the picture of a figure."""
    image = next(figure.findall(nodes.image))
    place = image.parent.index(image)
    image.parent.insert(place + 1, nodes.raw("", f"{drawing}</div>", format="html"))
    image.parent.insert(place, nodes.raw("", '<div class="points">', format="html"))


def layer(rows: pd.DataFrame, width: int, height: int) -> str:
    """An SVG of a picture's size, with an unseen circle at each point that says what it is of."""
    known = rows.dropna(subset=["left", "top"])
    names = [name for name in IDENTITY if name in known and (name in ALWAYS or known[name].nunique() > 1)]
    if "model" in names:  # its name says its settings
        names = [name for name in names if name in NAMES]
    circles = (
        f'<circle cx="{row["left"]:g}" cy="{row["top"]:g}" r="5">{_title(row, names)}</circle>'
        for _, row in known.iterrows()
    )
    return f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(circles)}</svg>'


def _title(row: pd.Series, names: list[str]) -> str:
    """What a point is of: its panel, its network or model, and where it is."""
    panel = ", ".join(row[name] for name in ("part", "title") if pd.notna(row.get(name)))
    known = ", ".join(f"{name.replace('_', ' ')} {_short(row[name])}" for name in names if pd.notna(row[name]))
    labels = {way: row.get(f"{way}_axis") for way in "xy"}
    axes = {way: re.sub(r" *[(].*", "", label) if pd.notna(label) else way for way, label in labels.items()}
    values = ", ".join(f"{name} {row[way]:.4g}" for way, name in axes.items())
    return f"<title>{html.escape(f'{panel}: ' * bool(panel) + f'{known}; {values}')}</title>"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write_records)
    app.connect("doctree-read", offer, priority=400)  # before Sphinx looks for what is to be downloaded
    return {"parallel_read_safe": True, "parallel_write_safe": True}
