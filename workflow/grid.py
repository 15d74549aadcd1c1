"""What a grid needs to know of the studies: which cells have no record yet, and how to take theirs in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from nclib.records import Records, cell_digest
from nclib.scales import settings
from nclib.studies import STUDIES, Cell

ROOT = Path(__file__).resolve().parents[1]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
BookRecords = Annotated[Path, typer.Option("--records", help="the folder of the book's records")]


def chapter(study: str) -> str:
    """The committed notebook, below the root, that measures a study."""
    sources = [path for path in sorted((ROOT / "notebooks").glob("*.py")) if f'"{study}"' in path.read_text()]
    return str(sources[0].with_suffix(".ipynb").relative_to(ROOT))


def missing(study: str, scale: str, seeds: list[int], where: dict[str, str], records: Records) -> Iterator[Cell]:
    """The cells of a study without a record, whose settings are, as text, those of `where`."""
    cells = [dict(cell) for cell in STUDIES[study](settings(scale), seeds or settings(scale).seeds)]
    known = {cell_digest(record["config"] | {"seed": record["seed"]}) for record in records.read(study, scale)}
    for cell in cells:
        if cell_digest(cell) not in known and all(str(cell.get(name)) == value for name, value in where.items()):
            yield cell


@app.command("missing")
def list_missing(
    scale: str = "demo",
    study: Annotated[list[str] | None, typer.Option(help="only these studies")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="these in place of the scale's")] = None,
    where: Annotated[list[str] | None, typer.Option(help="name=value of the cells' settings")] = None,
    records: BookRecords = ROOT / "book" / "records",
) -> None:
    """Print study, digest and notebook of every cell that has no record yet."""
    if unknown := set(study or ()) - STUDIES.keys():
        raise typer.BadParameter(f"there is no study {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    if wrong := [text for text in where or () if "=" not in text]:
        raise typer.BadParameter(f"--where {wrong[0]} must be name=value")
    wanted = dict(text.split("=", 1) for text in where or ())
    for name in study or STUDIES:
        for cell in missing(name, scale, seed or [], wanted, Records(records)):
            typer.echo(f"{name} {cell_digest(cell)} {chapter(name)}")


@app.command()
def merge(folder: Path, records: BookRecords = ROOT / "book" / "records") -> None:
    """Take the records of a grid's cells, FOLDER/STUDY/DIGEST/*.jsonl, into the book's; none is taken twice."""
    found = [
        record
        for path in sorted(folder.glob("*/*/*.jsonl"))
        for record in Records(path.parent).read(*path.stem.rsplit("-", 1))
    ]
    typer.echo(f"{Records(records).merge(found)} of {len(found)} records are new")


if __name__ == "__main__":
    app()
