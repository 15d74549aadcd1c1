"""What a grid needs to know of the studies: which cells have no record yet, and how to take theirs in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import papermill
import typer

from nclib.records import Records, cell_digest, read_records
from nclib.scales import settings
from nclib.studies import STUDIES, Cell

ROOT = Path(__file__).resolve().parents[1]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
BookRecords = Annotated[Path, typer.Option("--records", help="the folder of the book's records")]


def chapter(study: str) -> str:
    """The committed notebook, below the root, that measures a study, and can measure one cell of it."""
    sources = [path for path in sorted((ROOT / "notebooks").glob("*.py")) if f'"{study}"' in path.read_text()]
    notebook = sources[0].with_suffix(".ipynb")
    if not {"only", "records"} <= papermill.inspect_notebook(notebook).keys():
        raise ValueError(f"{notebook} has no parameters only and records: run workflow/run.py {sources[0]} first")
    return str(notebook.relative_to(ROOT))


def missing(study: str, scale: str, seeds: list[int], where: dict[str, str], records: Records) -> Iterator[Cell]:
    """The cells of a study without a record, whose settings are, as text, those of `where`."""
    cells = [dict(cell) for cell in STUDIES[study](settings(scale), seeds or settings(scale).seeds)]
    known = {cell_digest(record["config"] | {"seed": record["seed"]}) for record in records.read(study, scale)}
    for cell in cells:
        if cell_digest(cell) not in known and all(str(cell.get(name)) == value for name, value in where.items()):
            yield cell


@app.command()
def plan(
    scale: str = "demo",
    study: Annotated[list[str] | None, typer.Option(help="only these studies")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="these in place of the scale's")] = None,
    where: Annotated[list[str] | None, typer.Option(help="name=value of the cells' settings")] = None,
    records: BookRecords = ROOT / "book" / "records",
) -> None:
    """Print as JSON the chapter of every study, and study and digest of every cell that has no record yet."""
    if unknown := set(study or ()) - STUDIES.keys():
        raise typer.BadParameter(f"there is no study {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    if wrong := [text for text in where or () if "=" not in text]:
        raise typer.BadParameter(f"--where {wrong[0]} must be name=value")
    wanted = dict(text.split("=", 1) for text in where or ())
    cells = {name: STUDIES[name](settings(scale), seed or settings(scale).seeds) for name in study or STUDIES}
    if no_settings := wanted.keys() - {setting for found in cells.values() for cell in found for setting in cell}:
        raise typer.BadParameter(f"no cell has a setting {', '.join(sorted(no_settings))}")
    found = [(name, cell) for name in cells for cell in missing(name, scale, seed or [], wanted, Records(records))]
    chapters = {name: chapter(name) for name in STUDIES}
    typer.echo(json.dumps({"chapters": chapters, "missing": [(name, cell_digest(cell)) for name, cell in found]}))


@app.command()
def merge(given: list[Path], records: BookRecords = ROOT / "book" / "records") -> None:
    """Take records, of files or of the folders STUDY/CELL.jsonl of a grid, into the book's; none is taken twice."""
    files = [path for each in given for path in (sorted(each.glob("*/*.jsonl")) if each.is_dir() else [each])]
    found = [record for path in files for record in read_records(path)]
    typer.echo(f"{Records(records).merge(found)} of {len(found)} records are new")


if __name__ == "__main__":
    app()
