"""The live checks of the chapters: sharp enough to notice a change, and nothing of the machine gets into a notebook."""

import re
import shutil
from functools import cache

import nbformat
import pandas as pd
import pytest

import nclib
from nclib import training
from nclib.records import Records, as_table
from nclib.run import start
from nclib.studies import LIVE, live_cell
from nclib.tolerances import read_spreads, tolerances
from workflow import live
from workflow.measures import ROOT, chapter, measures

SPREADS = read_spreads(ROOT / "book" / "processors.csv")
RECORDS = Records(ROOT / "book" / "records")
EXECUTED = sorted((ROOT / "notebooks").glob("*.ipynb"))[1:]


@cache
def measure_of(study):
    return measures(chapter(study))[study]


@pytest.fixture
def run(tmp_path):
    """A run with the book's records and spreads, and a place of its own for what is measured."""
    (tmp_path / "book").mkdir()
    shutil.copytree(ROOT / "book" / "records", tmp_path / "book" / "records")
    shutil.copy(ROOT / "book" / "processors.csv", tmp_path / "book")
    return start(root=tmp_path)


@pytest.mark.parametrize("study", LIVE)
def test_the_live_cell_of_every_study_agrees_here(run, study):
    found = run.live({study: measure_of(study)})
    assert found["agrees"].all(), pd.read_csv(run.root / "_build" / "live" / f"{study}.csv").to_string()


@pytest.mark.parametrize("study", ["source_collapse", "fine_tuning", "geometric_complexity", "scene_selection"])
def test_a_changed_recipe_fails_the_live_check(run, study, monkeypatch):
    monkeypatch.setattr(training, "_MOMENTUM", 0.85)
    assert not run.live({study: measure_of(study)})["agrees"].all()


def test_a_broken_metric_fails_the_live_check(run, monkeypatch):
    whole = nclib.nc1
    monkeypatch.setattr(nclib, "nc1", lambda *given, **options: 1.001 * whole(*given, **options))
    found = run.live({"source_collapse": measure_of("source_collapse")})
    assert found.index[~found["agrees"]].tolist() == [("source_collapse", "nc1")]


@pytest.mark.parametrize("study", LIVE)
def test_a_changed_record_fails_the_live_check(run, study):
    """One of its first three digits, in any metric that is checked."""
    path = RECORDS.path(study, "check")
    recorded = RECORDS.select(study, "check", [live_cell(study)])[0]["metrics"]
    metric = max(tolerances(SPREADS, [study], "check", [live_cell(study)]), key=lambda name: name.startswith("nc1"))
    value = recorded[metric][-1] if isinstance(recorded[metric], list) else recorded[metric]
    changed = re.sub(r"(\.\d)(\d)", lambda digits: digits[1] + str((int(digits[2]) + 1) % 10), repr(value), count=1)
    assert changed != repr(value)
    text = path.read_text().replace(f": {value!r}", f": {changed}").replace(f" {value!r}]", f" {changed}]")
    (run.root / "book" / "records" / path.name).write_text(text)
    assert not run.live({study: measure_of(study)})["agrees"].all()


@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: path.stem)
def test_an_executed_notebook_holds_no_number_of_a_live_cell(path):
    """All that a live cell says follows from records and spreads: it can be told without measuring."""
    (cell,) = [cell for cell in nbformat.read(path, as_version=4).cells if "live" in cell.metadata.get("tags", [])]
    studies = [study for study in LIVE if f'"{study}"' in cell.source]
    said, table = cell.outputs
    assert said.text == "the live check agrees with the records: True\n"
    expected = []
    for study in studies:
        allowed = tolerances(SPREADS, [study], "check", [live_cell(study)])
        recorded = as_table(RECORDS.select(study, "check", [live_cell(study)])).iloc[0]
        expected += [(study, name, recorded[name], allowed[name]) for name in sorted(allowed)]
    rows = pd.DataFrame(expected, columns=["study", "metric", "recorded", "tolerance"]).set_index(["study", "metric"])
    for column in ("recorded", "tolerance"):
        assert rows[column].notna().all()
    numbers = re.findall(r"<td>([^<]*)</td>", table.data["text/html"])
    assert len(numbers) == 3 * len(rows)
    assert set(numbers[2::3]) == {"True"}
    assert [float(text) for text in numbers[1::3]] == pytest.approx(rows["tolerance"].tolist(), rel=0.02)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_an_executed_notebook_does_not_say_what_it_ran_on(path):
    text = path.read_text()
    assert not re.search(r"nclib \d[^\"]*, torch \d[^\"]*, (cpu|NVIDIA|AMD)[^\"]*scale", text)
    assert '"stderr"' not in text


def test_what_is_checked_on_other_processors_is_what_the_chapters_check():
    for path in EXECUTED:
        whole = nbformat.read(path, as_version=4)
        found = live.live_only(whole)
        assert found.cells[-1] in whole.cells
        assert found.cells[-1].metadata.tags == ["live"]
        assert any("run.study(" in cell.source for cell in found.cells)
    with pytest.raises(ValueError, match="no cell with the tag live"):
        live.live_only(nbformat.v4.new_notebook())
