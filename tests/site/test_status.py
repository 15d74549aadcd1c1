"""The status page: what a run left as a note, and what the records hold."""

import json
import re
import subprocess
import sys
from pathlib import Path

from nclib.experiments.scales import SCALES
from nclib.experiments.studies import STUDIES
from workflow import run

ROOT = Path(__file__).parents[2]
TOY = "# %%\nprint(1)\n"


def test_a_run_of_the_committed_kind_leaves_a_note(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "NOTES", tmp_path / "notes")
    source = tmp_path / "toy.py"
    source.write_text(TOY)
    run.main(source)
    said = json.loads((tmp_path / "notes" / "toy.json").read_text())
    assert said.keys() >= {"nclib", "torch", "python", "machine", "commit", "date", "seconds"}
    assert said["date"].endswith("UTC")
    (tmp_path / "notes" / "toy.json").unlink()
    run.main(source, output=tmp_path / "own.ipynb")
    assert not list((tmp_path / "notes").iterdir())


def test_the_page_has_every_notebook_and_study():
    subprocess.run([sys.executable, "-m", "workflow.status"], cwd=ROOT, check=True)
    text = (ROOT / "book" / "status_table.md").read_text()
    assert all(f"../notebooks/{path.stem}.ipynb" in text for path in (ROOT / "notebooks").glob("*.py"))
    assert re.search(r"\| source_collapse \| demo \| \d+, \[\d+ kB\]\(\S+\) \| 324 of 324 \|", text)
    for study, cells in STUDIES.items():
        assert f"| {study} | lab | " in text or not cells(SCALES["lab"], [0])
