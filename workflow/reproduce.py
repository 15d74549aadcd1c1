"""Compute demo records again, from scratch, and report where they differ from the committed ones.

That is one seed of every cell or, with --seeds all, each of them, and the verdicts as well. The exit code is 1 if a
value is beyond its tolerance or a verdict differs, else 0. A killed run is taken up again with --go-on.
"""

import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Literal

import joblib
import pandas as pd
import typer

from nclib.experiments.claims import Verdict, judge
from nclib.experiments.protocols import in_force
from nclib.experiments.records import Cell, Records, as_table, fill, processor
from nclib.experiments.run import SPREADS
from nclib.experiments.studies import CLAIMS, ELSEWHERE, STUDIES, cells_of, elsewhere, followed_up
from nclib.experiments.tolerances import differences, kind, read_spreads, tolerances
from nclib.storage import replacing
from workflow.measures import RECORDS, ROOT, chapter, measures
from workflow.processors import COMBINATIONS, keep, rows_of

Seeds = Literal["one", "all"]

AGAIN = ROOT / "_build" / "reproduced"  # not where a reader's -p recompute True measures
SCALE = "demo"
FARTHEST = "make reproduce, the farthest cell"
TIMED = {"score_cost"}  # it measures seconds, which differ from day to day
# Studies that one function measures: what processors differ by in one of them, they may differ by in the others.
ALIKE = (
    ("fine_tuning", "data_scarcity", "tuned_layer"),
    ("geometric_complexity", "complexity_penalty", "dialled_complexity"),
)


def declared(seeds: Seeds = "all") -> dict[str, list[Cell]]:
    """The demo cells of every study that has some, of the first seed of each protocol or of all."""
    found = {}
    for study in STUDIES:
        parts = [part for part in (cells_of(study, SCALE), *followed_up(study, SCALE)) if part]
        found[study] = [cell for part in parts for cell in part if seeds == "all" or cell["seed"] == part[0]["seed"]]
    return {study: cells for study, cells in found.items() if cells}


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


def report(committed: Records, recomputed: Records, studies: dict[str, list[Cell]]) -> int:
    """Print the differences of studies; return how many metrics are beyond what they may be."""
    beyond, tolerance = 0, all_allowed(committed)
    for study, cells in studies.items():
        text, number = compare(committed, recomputed, study, SCALE, cells, tolerance[study])
        typer.echo(f"\n{text}")
        beyond += number
    typer.echo(f"\n{beyond} metrics are beyond their tolerance")
    return beyond


def judged(
    committed: Records, recomputed: Records, studies: dict[str, list[Cell]]
) -> Iterator[tuple[Verdict, Verdict]]:
    """The verdicts on the claims of studies from all these cells, then and now."""
    for claim in (claim for claim in CLAIMS if claim.study in studies):
        cells = cells_of(claim.study, SCALE, claim.key)
        found = [records.select(claim.study, SCALE, cells) for records in (committed, recomputed)]
        old, new = (judge(claim, as_table(each) if each else None) for each in found)
        yield old, new


def report_verdicts(pairs: Sequence[tuple[Verdict, Verdict]]) -> int:
    """Print verdicts, then and now; return how many differ."""
    typer.echo("\nVerdicts; ! marks those that differ")
    for old, new in pairs:
        typer.echo(f"{' ' if old.word == new.word else '!'} {old.claim.key:18} recorded {old}; now {new}")
    other = sum(old.word != new.word for old, new in pairs)
    typer.echo(f"\n{other} of {len(pairs)} verdicts differ")
    return other


def keep_verdicts(found: Iterable[Verdict], name: str) -> None:
    """Take what was found under protocols into the table of other processors' verdicts."""
    where, known = f"{processor()} as {name}" if name else processor(), elsewhere(RECORDS)
    rows = [
        {"claim": each.claim.key, "scale": SCALE, "protocol": protocol.digest, "processor": where}
        | {"word": each.word, "said": str(each)}
        for each in found
        if (protocol := in_force(each.claim.study, SCALE, each.claim.key))
    ]
    now = pd.DataFrame([*known.to_dict("records"), *rows], columns=known.columns)
    with replacing(ROOT / "book" / ELSEWHERE) as path:
        now.drop_duplicates(["claim", "scale", "processor"], keep="last").to_csv(path, index=False)


def farthest(committed: Records, recomputed: Records, studies: dict[str, list[Cell]]) -> Iterator[dict]:
    """A row for the table of spreads of the farthest cell of every metric.

    A cell in which the metric exists on one processor only is reported, but it is no spread: as such it would be
    infinite, and allow nothing or everything.
    """
    for study, cells in studies.items():
        if study in TIMED:
            continue
        gone = committed.missing(study, SCALE, cells) + recomputed.missing(study, SCALE, cells)
        both = [cell for cell in cells if cell not in gone]
        pairs = zip(*(records.select(study, SCALE, both) for records in (committed, recomputed)), strict=True)
        table = pd.DataFrame(row for pair in pairs for row in rows_of(FARTHEST, *pair) if math.isfinite(row["apart"]))
        yield from table.loc[table.groupby("metric")["apart"].idxmax()].to_dict("records")


app = typer.Typer()


@app.command()
def main(
    seeds: Annotated[Seeds, typer.Option(help="one of every cell, or all, with the verdicts")] = "one",
    study: Annotated[list[str] | None, typer.Option(help="a study; again for more of them [default: all]")] = None,
    like: Annotated[str | None, typer.Option(help="a processor to emulate, as of make processors")] = None,
    go_on: Annotated[bool, typer.Option(help="keep what an earlier, killed run has computed")] = False,
    kept: Annotated[bool, typer.Option("--keep", help="take what was found into the tables of the book")] = False,
    here: Annotated[str, typer.Option(hidden=True, help="what this process emulates already")] = "",
) -> None:
    """Measure the cells with records and a cache of their own, and compare these records with the committed ones."""
    if like:
        raise typer.Exit(_elsewhere(like))
    studies = {name: cells for name, cells in declared(seeds).items() if not study or name in study}
    if unknown := set(study or ()) - studies.keys():
        raise typer.BadParameter(f"there is no study {', '.join(sorted(unknown))}; there are {', '.join(declared())}")
    recomputed, start = Records(AGAIN / "records"), time.monotonic()
    all_allowed(RECORDS)  # what cannot be reported in the end is said before hours go into it
    if not go_on:
        shutil.rmtree(AGAIN, ignore_errors=True)
    for name, cells in studies.items():
        measure = partial(measures(chapter(name))[name], cache=AGAIN / "cache")
        fill(recomputed, name, SCALE, cells, measure, workers=joblib.cpu_count(), retry=True)
    wrong = report(RECORDS, recomputed, studies)
    pairs = list(judged(RECORDS, recomputed, studies)) if seeds == "all" else []
    wrong += report_verdicts(pairs) if pairs else 0
    if kept:
        keep(farthest(RECORDS, recomputed, studies))
        keep_verdicts((new for _, new in pairs), here)
    typer.echo(f"{(time.monotonic() - start) / 60:.0f} minutes")
    if wrong:
        raise typer.Exit(1)


def _elsewhere(like: str) -> int:
    """The exit code of this command, run as it is but for a processor that is emulated."""
    possible = {name: each for name, each in COMBINATIONS.items() if each.possible and each.onednn}
    if like not in possible:
        raise typer.BadParameter(f"{like!r} cannot be emulated here; there are {', '.join(possible)}")
    given = [argument for argument in sys.argv[1:] if argument not in ("--like", like, f"--like={like}")]
    return subprocess.run(
        [sys.executable, "-m", "workflow.reproduce", *given, "--here", like], cwd=ROOT, env=possible[like].environment
    ).returncode


if __name__ == "__main__":
    app()
