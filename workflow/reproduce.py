"""Compute every demo record again, from nothing, and report where it differs from the committed one.

The exit code is 1 if a verdict differs. A killed run is taken up again with --go-on.
"""

import shutil
from pathlib import Path
from typing import Annotated

import papermill
import typer
from run import ROOT, execute, read

from nclib.findings import TOLERANCE, verdicts
from nclib.records import Records, as_table, differences
from nclib.scales import settings
from nclib.studies import STUDIES

AGAIN = ROOT / "_build" / "recomputed"
SCALE = "demo"


def compare(committed: Records, recomputed: Records, study: str) -> str:
    """Where the records come from, and the largest difference of every metric, over the declared cells."""
    cells = STUDIES[study](settings(SCALE), settings(SCALE).seeds)
    old, new = (as_table(records.select(study, SCALE, cells)) for records in (committed, recomputed))
    header = recomputed.describe(study, SCALE, cells)
    if len(old) != len(new) or not len(new):
        return f"{header}\n{len(old)} cells are committed, {len(new)} recomputed, of {len(cells)}"
    return f"{header}\n{differences(old, new, TOLERANCE).to_string(float_format='%.4g')}"


def report(committed: Records, recomputed: Records) -> bool:
    """Print the differences of every study, then the verdicts; return whether all verdicts are the same."""
    for study in STUDIES:
        typer.echo(f"\n{compare(committed, recomputed, study)}")
    pairs = list(zip(verdicts(committed, SCALE), verdicts(recomputed, SCALE), strict=True))
    for old, new in pairs:
        mark = " " if old.word == new.word else "!"
        typer.echo(f"{mark} {old.claim.key:16} recorded {old}; now {new}")
    return all(old.word == new.word for old, new in pairs)


def has_records(source: Path) -> bool:
    """Whether a notebook measures anything, and so can do it again."""
    return "recompute" in papermill.inspect_notebook(read(source))


def main(go_on: Annotated[bool, typer.Option(help="keep what an earlier, killed run has computed")] = False) -> None:
    """Run every notebook with recompute=True and compare its records with the committed ones."""
    if not go_on:
        shutil.rmtree(AGAIN, ignore_errors=True)
    for source in (path for path in sorted((ROOT / "notebooks").glob("*.py")) if has_records(path)):
        typer.echo(f"recomputing {source.name}")
        execute(source, AGAIN / source.with_suffix(".ipynb").name, {"recompute": True})
    if not report(Records(ROOT / "book" / "records"), Records(AGAIN / "records")):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
