"""Compute every demo record again, from nothing, and report where it differs from the committed one.

The exit code is 1 if a value is beyond its tolerance or a verdict differs, else 0. A killed run is taken up again with
--go-on.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import pandas as pd
import papermill
import typer

from nclib.experiments.records import Cell, Records, as_table
from nclib.experiments.run import RECORDS_AT, SPREADS
from nclib.experiments.studies import STUDIES, cells_of, verdicts
from nclib.experiments.tolerances import differences, kind, read_spreads, tolerances
from workflow.execute import ROOT, execute, read
from workflow.processors import keep, rows_of

AGAIN = ROOT / "_build" / "reproduced"  # not where a reader's -p recompute True measures
SCALE = "demo"
FARTHEST = "make reproduce, the farthest cell"
TIMED = {"score_cost"}  # it measures seconds, which differ from day to day
# Studies that one function measures: what processors differ by in one of them, they may differ by in the others.
ALIKE = (("fine_tuning", "data_scarcity", "tuned_layer"), ("geometric_complexity", "complexity_penalty"))


def declared() -> dict[str, list[Cell]]:
    """The demo cells of every study that has some."""
    return {study: cells for study in STUDIES if (cells := cells_of(study, SCALE))}


def allowed(spreads: pd.DataFrame, study: str, metrics: Iterable[str]) -> dict[str, float]:
    """The tolerances of a study's demo cells; none of one that is timed. ValueError if a metric has none."""
    if study in TIMED:
        return {}
    alike = next((group for group in ALIKE if study in group), (study,))
    found = tolerances(spreads, alike, SCALE, [cell for each in alike for cell in declared()[each]])
    if lacking := [name for name in metrics if kind(name) and name not in found]:
        raise ValueError(f"{', '.join(lacking)} of {study} has no tolerance; make processors measures it")
    return found


def all_allowed(committed: Records) -> dict[str, dict[str, float]]:
    """The tolerances of every study."""
    spreads, found = read_spreads(ROOT / SPREADS), {}
    for study, cells in declared().items():
        recorded = committed.select(study, SCALE, cells)
        if not recorded:
            raise ValueError(f"{study} has no record at {SCALE} scale in {committed.folder} to compare with")
        found[study] = allowed(spreads, study, recorded[0]["metrics"])
    return found


def compare(
    committed: Records, recomputed: Records, study: str, scale: str, cells: list[Cell], tolerance: dict[str, float]
) -> tuple[str, int]:
    """Where the records come from and the largest difference of every metric; and how many metrics do not agree."""
    header = recomputed.describe(study, scale, cells)
    old, new = (records.select(study, scale, cells) for records in (committed, recomputed))
    if len(old) != len(new) or not new:
        return f"{header}\n{len(old)} cells are committed, {len(new)} recomputed, of {len(cells)}", 1
    if not tolerance:
        return f"{header}\nseconds, which are not compared", 0
    found = differences(as_table(old), as_table(new), tolerance)
    return f"{header}\n{found.to_string(float_format='%.4g')}", int((~found["agrees"]).sum())


def report(committed: Records, recomputed: Records) -> bool:
    """Print the differences of every study, then the verdicts; return whether nothing is beyond what it may be."""
    beyond, tolerance = 0, all_allowed(committed)
    for study, cells in declared().items():
        text, number = compare(committed, recomputed, study, SCALE, cells, tolerance[study])
        typer.echo(f"\n{text}")
        beyond += number
    pairs = list(zip(verdicts(committed, SCALE), verdicts(recomputed, SCALE), strict=True))
    typer.echo("\nVerdicts; ! marks those that differ")
    for old, new in pairs:
        typer.echo(f"{' ' if old.word == new.word else '!'} {old.claim.key:18} recorded {old}; now {new}")
    other = sum(old.word != new.word for old, new in pairs)
    typer.echo(f"\n{beyond} metrics are beyond their tolerance, {other} of {len(pairs)} verdicts differ")
    return not beyond and not other


def has_records(source: Path) -> bool:
    """Whether a notebook measures anything, and so can do it again."""
    return "recompute" in papermill.inspect_notebook(read(source))


def farthest(committed: Records, recomputed: Records) -> Iterator[dict]:
    """A row for the table of spreads of the farthest cell of every metric."""
    for study, cells in declared().items():
        if study in TIMED:
            continue
        gone = committed.missing(study, SCALE, cells) + recomputed.missing(study, SCALE, cells)
        both = [cell for cell in cells if cell not in gone]
        pairs = zip(*(records.select(study, SCALE, both) for records in (committed, recomputed)), strict=True)
        table = pd.DataFrame(row for pair in pairs for row in rows_of(FARTHEST, *pair))
        yield from table.loc[table.groupby("metric")["apart"].idxmax()].to_dict("records")


def main(
    go_on: Annotated[bool, typer.Option(help="keep what an earlier, killed run has computed")] = False,
    keep_spreads: Annotated[bool, typer.Option(help="take the farthest cells into the table of spreads")] = False,
) -> None:
    """Run every notebook with records and a cache of its own, and compare its records with the committed ones."""
    committed, start = Records(ROOT / "book" / "records"), time.monotonic()
    all_allowed(committed)  # what cannot be reported in the end is said before hours go into it
    if not go_on:
        shutil.rmtree(AGAIN, ignore_errors=True)
    for source in (path for path in sorted((ROOT / "notebooks").glob("*.py")) if has_records(path)):
        typer.echo(f"recomputing {source.name}")
        with patch.dict(os.environ, {RECORDS_AT: str(AGAIN / "records"), "NCLIB_CACHE": str(AGAIN / "cache")}):
            execute(source, AGAIN / source.with_suffix(".ipynb").name)
    agree = report(committed, Records(AGAIN / "records"))
    if keep_spreads:
        keep(farthest(committed, Records(AGAIN / "records")))
    typer.echo(f"{(time.monotonic() - start) / 60:.0f} minutes")
    if not agree:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
