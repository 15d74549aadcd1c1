"""Compute every demo record again, from nothing, and report where it differs from the committed one.

The exit code is 1 if a verdict differs. A killed run is taken up again with --go-on.
"""

import shutil
from pathlib import Path
from typing import Annotated

import pandas as pd
import papermill
import typer
from run import ROOT, execute, read

from nclib.findings import CLAIMS, TOLERANCE, verdicts
from nclib.records import Records, differences

AGAIN = ROOT / "_build" / "recomputed"
SCALE = "demo"


def compare(committed: Records, recomputed: Records, study: str) -> pd.DataFrame:
    """The largest difference of every metric of a study, over the cells of the committed records."""
    old, new = (records.by_cell(study, SCALE) for records in (committed, recomputed))
    if lacking := old.keys() - new.keys():
        typer.echo(f"{len(lacking)} of {len(old)} committed cells are in no notebook any more, such as {min(lacking)}")
    common = [cell for cell in old if cell in new]
    old_metrics, new_metrics = (pd.DataFrame([side[cell]["metrics"] for cell in common]) for side in (old, new))
    return differences(old_metrics, new_metrics, TOLERANCE)


def report(committed: Records, recomputed: Records) -> bool:
    """Print the differences of every study, then the verdicts; return whether all verdicts are the same."""
    for study in sorted({claim.study for claim in CLAIMS}):
        typer.echo(f"\n{recomputed.describe(study, SCALE)}")
        typer.echo(compare(committed, recomputed, study).to_string(float_format="%.4g"))
    pairs = list(zip(verdicts(committed, SCALE), verdicts(recomputed, SCALE), strict=True))
    for old, new in pairs:
        mark = " " if old.word == new.word else "!"
        typer.echo(f"{mark} {old.claim.key:16} recorded: {old}, {old.estimate}; now: {new}, {new.estimate}")
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
