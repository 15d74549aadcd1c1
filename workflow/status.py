"""Write the status page's tables: when, where and how long the notebooks last ran, and what records there are."""

import json
from pathlib import Path

from nclib.experiments.records import Records
from nclib.experiments.scales import SCALES, settings
from nclib.experiments.studies import STUDIES
from nclib.storage import replacing
from workflow.run import NOTES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "book" / "status_table.md"


def runs() -> str:
    """A row a notebook: as it was run for this build."""
    lines = [["notebook", "seconds", "date", "with"], ["---"] * 4]
    for source in sorted((ROOT / "notebooks").glob("*.py")):
        note = NOTES / f"{source.stem}.json"
        if note.exists():
            made = json.loads(note.read_text())
            commit = made["commit"] or "no commit"
            versions = f"nclib {made['nclib']} ({commit}), torch {made['torch']}, Python {made['python']}"
            rest = [f"{made['seconds']:.0f}", made["date"], f"{versions}, {made['machine']}"]
        else:
            rest = ["", "not for this build", "its output is the committed one"]
        lines.append([f"[{source.stem}](../notebooks/{source.stem}.ipynb)", *rest])
    return _table(lines)


def records() -> str:
    """A row a file of records, with what a scale asks for."""
    lines = [["study", "scale", "records", "cells", "made", "commits"], ["---"] * 6]
    ledger = Records(ROOT / "book" / "records")
    for study, cells in STUDIES.items():
        for scale in SCALES:
            declared = cells(settings(scale), settings(scale).seeds)
            if declared:
                lines.append([study, scale, *_held(ledger, study, scale, declared)])
    return _table(lines)


def _held(ledger: Records, study: str, scale: str, declared: list[dict]) -> list[str]:
    path, found = ledger.path(study, scale), ledger.read(study, scale)
    if not found:
        return ["0", f"0 of {len(declared)}", "not run yet", ""]
    made = [record["provenance"] for record in found]
    dates = sorted({each["date"] for each in made})
    commits = sorted({str(each["commit"]) for each in made})
    held = len(ledger.select(study, scale, declared))
    link = f"[{path.stat().st_size / 1000:.0f} kB](records/{path.name})"
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return [f"{len(found)}, {link}", f"{held} of {len(declared)}", when, " ".join(commits)]


def _table(lines: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    with replacing(PAGE) as path:
        path.write_text(f"## Notebooks\n\n{runs()}\n## Records\n\n{records()}")
