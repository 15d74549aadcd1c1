"""What a grid needs to know of the studies: which cells have no record yet, and how to take theirs in."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from nclib.experiments.records import FAILURE, Cell, Records, cell_digest, read_records
from nclib.experiments.run import from_json
from nclib.experiments.scales import SCALES, settings
from nclib.experiments.studies import STUDIES, every_cell
from workflow.measures import ROOT, chapter

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
BookRecords = Annotated[Path, typer.Option("--records", help="the folder of the book's records")]


def chosen(cells: Iterable[Cell], where: dict[str, Any]) -> list[Cell]:
    """The cells that have these settings; a number is given as one or as its text, as Snakemake does."""

    def has(cell: Cell, name: str, value: Any) -> bool:
        return name in cell and (value == cell[name] or str(value) == str(cell[name]))

    return [cell for cell in cells if all(has(cell, name, value) for name, value in where.items())]


@app.command()
def plan(
    scale: str = "demo",
    study: Annotated[list[str] | None, typer.Option(help="only these studies")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="these in place of the protocol's")] = None,
    where: Annotated[list[str] | None, typer.Option(help="name=value of the cells' settings")] = None,
    records: BookRecords = ROOT / "book" / "records",
) -> None:
    """Print as JSON the chapters of the studies, and study and digest of every cell that has no record yet."""
    if unknown := set(study or ()) - STUDIES.keys():
        raise typer.BadParameter(f"there is no study {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    if scale not in SCALES:
        raise typer.BadParameter(f"there is no scale {scale}; there are {', '.join(SCALES)}")
    if wrong := [text for text in where or () if "=" not in text]:
        raise typer.BadParameter(f"--where {wrong[0]} must be name=value")
    wanted = {name: from_json(value) for name, _, value in (text.partition("=") for text in where or ())}
    cells = {
        name: chosen(STUDIES[name](settings(scale), seed) if seed else every_cell(name, scale), wanted)
        for name in study or STUDIES
    }
    if wanted and not any(cells.values()):
        raise typer.BadParameter(f"no cell of {', '.join(cells)} at {scale} scale has {', '.join(where or ())}")
    ledger = Records(records)
    found = [(name, cell) for name in cells for cell in ledger.missing(name, scale, cells[name])]
    for name in {name for name, _ in found}:
        ledger.check_writable(name, scale)
    chapters = {name: str(chapter(name).with_suffix(".ipynb").relative_to(ROOT)) for name in cells}
    typer.echo(json.dumps({"chapters": chapters, "missing": [(name, cell_digest(cell)) for name, cell in found]}))


@app.command()
def merge(given: list[Path], records: BookRecords = ROOT / "book" / "records") -> None:
    """Take records, of files or of the folders STUDY/CELL.jsonl of a grid, into the book's; none is taken twice.

    Failures are taken from such folders, too.
    """
    failed = [path for each in given if each.is_dir() for path in sorted(each.glob("*/*/*.failed.jsonl"))]
    for failure in (failure for path in failed for failure in read_records(path, needed=FAILURE)):
        Records(records).fail(failure)
    files = [path for each in given for path in (sorted(each.glob("*/*.jsonl")) if each.is_dir() else [each])]
    found = [record for path in files for record in read_records(path)]
    typer.echo(f"{Records(records).merge(found)} of {len(found)} records are new")


if __name__ == "__main__":
    app()
