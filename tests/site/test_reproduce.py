"""make reproduce: its report of every study, what it refuses before hours of work, and how it ends."""

import json
import math
import os
import shutil
from functools import partial

import pandas as pd
import pytest
import typer

from nclib.devices import double_precision
from nclib.experiments.records import Records, fill
from nclib.experiments.run import RECORDS_AT
from nclib.experiments.studies import CLAIMS, LIVE, live_cell
from nclib.experiments.tolerances import read_spreads, tolerances
from workflow import reproduce
from workflow.measures import ROOT, chapter, measures

BOOK = Records(ROOT / "book" / "records")


@pytest.fixture
def again(tmp_path):
    """The book's records, as if they had been computed again to the last digit."""
    shutil.copytree(BOOK.folder, tmp_path / "records")
    return Records(tmp_path / "records")


def rewrite(records, study, change, scale="demo"):
    """The records of a study with their metrics changed."""
    path = records.path(study, scale)
    made = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(each | {"metrics": change(each["metrics"])}) + "\n" for each in made))


@pytest.mark.parametrize("study", LIVE)
def test_a_cheap_cell_of_every_study_is_measured_again_and_reported(tmp_path, study):
    cell = live_cell(study)
    with double_precision():
        fill(Records(tmp_path), study, "check", [cell], partial(measures(chapter(study))[study], cache=None))
    tolerance = tolerances(read_spreads(ROOT / reproduce.SPREADS), [study], "check", [cell])
    text, beyond = reproduce.compare(BOOK, Records(tmp_path), study, "check", [cell], tolerance)
    assert text.startswith(f"{study} at check scale: 1 records")
    assert "tolerance" in text
    assert not beyond, text


def test_equal_records_are_reported_study_by_study_and_end_well(again, capsys):
    assert reproduce.report(BOOK, again)
    said = capsys.readouterr().out
    assert all(f"{study} at demo scale" in said for study in reproduce.declared())
    assert all(f"  {claim.key}" in said for claim in CLAIMS)
    assert f"0 metrics are beyond their tolerance, 0 of {len(CLAIMS)} verdicts differ" in said


def test_a_value_beyond_its_tolerance_ends_in_an_error(again, capsys):
    rewrite(again, "downstream_collapse", lambda metrics: metrics | {"num_features": 1 + metrics["num_features"]})
    assert not reproduce.report(BOOK, again)
    assert "1 metrics are beyond their tolerance" in capsys.readouterr().out


def test_a_verdict_that_differs_is_marked_and_ends_in_an_error(again, capsys):
    rewrite(again, "collapse_in_training", lambda metrics: metrics | {"nc4": [0.5 for _ in metrics["nc4"]]})
    assert not reproduce.report(BOOK, again)
    assert "! P4 " in capsys.readouterr().out


def test_missing_cells_are_said_and_end_in_an_error(again, capsys):
    path = again.path("tuned_layer", "demo")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert not reproduce.report(BOOK, again)
    assert "27 cells are committed, 26 recomputed, of 27" in capsys.readouterr().out


def test_a_study_without_a_tolerance_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    spreads = read_spreads(ROOT / reproduce.SPREADS)
    monkeypatch.setattr(reproduce, "read_spreads", lambda path: spreads[spreads["study"] != "scene_selection"])
    monkeypatch.setattr(reproduce, "execute", lambda *given: pytest.fail("a notebook was run"))
    with pytest.raises(ValueError, match="scene_selection at demo scale; make processors"):
        reproduce.main()
    some = spreads[(spreads["study"] != "scene_selection") | (spreads["metric"] != "gbc")]
    monkeypatch.setattr(reproduce, "read_spreads", lambda path: some)
    with pytest.raises(ValueError, match="gbc of scene_selection has no tolerance"):
        reproduce.main()


@pytest.mark.parametrize(("equal", "code"), [(True, None), (False, 1)])
def test_it_exits_as_it_says(again, monkeypatch, equal, code):
    """With records that are there in place of hours of work."""
    if not equal:
        rewrite(again, "downstream_collapse", lambda metrics: metrics | {"num_features": 1 + metrics["num_features"]})
    run = []
    monkeypatch.setattr(reproduce, "AGAIN", again.folder.parent)
    told = [RECORDS_AT, "NCLIB_CACHE"]
    monkeypatch.setattr(
        reproduce, "execute", lambda source, output: run.append((source.stem[:2], *map(os.environ.get, told)))
    )
    try:
        reproduce.main(go_on=True)
        ended = None
    except typer.Exit as end:
        ended = end.exit_code
    assert ended == code
    own = [str(again.folder.parent / name) for name in ("records", "cache")]
    assert run == [(f"0{number}", *own) for number in range(1, 8)]
    assert RECORDS_AT not in os.environ


def test_the_farthest_cells_are_rows_for_the_table_of_spreads(again):
    """So that what a whole run differed by is not lost."""
    rewrite(again, "source_collapse", lambda metrics: metrics | {"nc1": 1.5 * metrics["nc1"]})
    rows = pd.DataFrame(reproduce.farthest(Records(ROOT / "book" / "records"), again)).set_index(["study", "metric"])
    assert rows.loc[("source_collapse", "nc1"), "apart"] == pytest.approx(math.log(1.5), rel=1e-2)
    assert rows.loc[("source_collapse", "cdnv"), "apart"] == 0
    assert set(rows["combination"]) == {reproduce.FARTHEST}
    assert rows.index.is_unique
    assert "score_cost" not in rows.index.get_level_values("study")
