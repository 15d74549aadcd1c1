"""The status page: what a run left as a note, and what the records hold."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

from nclib.experiments.scales import SCALES
from nclib.experiments.studies import STUDIES, every_cell
from workflow import execute
from workflow.measures import RECORDS

ROOT = Path(__file__).parents[2]
TOY = "# %%\nprint(1)\n"


def test_a_run_of_the_committed_kind_leaves_a_note(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "NOTES", tmp_path / "notes")
    source = tmp_path / "toy.py"
    source.write_text(TOY)
    execute.main(source)
    said = json.loads((tmp_path / "notes" / "toy.json").read_text())
    assert said.keys() >= {"nclib", "torch", "python", "machine", "commit", "date", "seconds"}
    assert said["date"].endswith("UTC")
    (tmp_path / "notes" / "toy.json").unlink()
    execute.main(source, output=tmp_path / "own.ipynb")
    assert not list((tmp_path / "notes").iterdir())


def test_an_unknown_page_is_refused_in_one_line():
    command = [sys.executable, "-m", "workflow.pages", "status_table", "poems"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("there is no page poems; there are protocols_table, ")


def test_the_page_has_every_notebook_and_study():
    subprocess.run([sys.executable, "-m", "workflow.pages", "status_table"], cwd=ROOT, check=True)
    text = (ROOT / "book" / "status_table.md").read_text()
    sources = list((ROOT / "notebooks").glob("*.py"))
    assert sources
    assert all(f"../notebooks/{path.stem}.ipynb" in text for path in sources)
    for study, name in product(STUDIES, SCALES):
        if declared := every_cell(study, name):
            row = next(line for line in text.splitlines() if line.startswith(f"| {study} | {name} | "))
            assert (RECORDS.path(study, name).exists()) == (f"[CSV](../_build/records/{study}-{name}.csv)" in row)
            assert f"| {len(RECORDS.select(study, name, declared))} of {len(declared)} |" in row
