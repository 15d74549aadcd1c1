"""make reproduce: its report of every study, what it refuses before hours of work, and how it ends."""

import json
import math
import shutil
from collections import defaultdict
from functools import partial
from unittest.mock import Mock

import pandas as pd
import pytest
from typer.testing import CliRunner

from nclib.devices import double_precision
from nclib.experiments.claims import Verdict
from nclib.experiments.records import Records, fill
from nclib.experiments.studies import CLAIMS, LIVE, cells_of, live_cell
from nclib.experiments.tolerances import read_spreads, tolerances
from workflow import reproduce
from workflow.measures import RECORDS, ROOT, chapter, measures


@pytest.fixture
def again(tmp_path):
    """The book's records, as if they had been computed again to the last digit."""
    shutil.copytree(RECORDS.folder, tmp_path / "records")
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
    text, beyond = reproduce.compare(RECORDS, Records(tmp_path), study, "check", [cell], tolerance)
    assert text.startswith(f"{study} at check scale: 1 records")
    assert "tolerance" in text
    assert not beyond, text


def test_equal_records_are_reported_study_by_study_and_end_well(again, capsys):
    studies = reproduce.declared()
    assert not reproduce.report(RECORDS, again, studies)
    assert not reproduce.report_verdicts(list(reproduce.judged(RECORDS, again, studies)))
    said = capsys.readouterr().out
    assert all(f"{study} at demo scale" in said for study in studies)
    assert all(f"  {claim.key}" in said for claim in CLAIMS)
    assert "0 metrics are beyond their tolerance" in said
    assert f"0 of {len(CLAIMS)} verdicts differ" in said


@pytest.mark.parametrize("seeds", ["one", "all"])
def test_only_cells_that_a_protocol_asks_for_are_computed_again(seeds):
    """Else hours went into cells that no record is compared with."""
    for study, cells in reproduce.declared(seeds).items():
        assert not RECORDS.missing(study, "demo", cells), study


def test_one_seed_of_every_cell_is_of_those_that_the_verdicts_rest_on():
    one, every = reproduce.declared("one"), reproduce.declared()
    assert one.keys() == every.keys()
    for study, cells in one.items():
        assert 0 < len(cells) <= len(every[study])
        assert all(cell in every[study] for cell in cells)
    assert {cell["seed"] for cell in one["source_collapse"]} == {cells_of("source_collapse", "demo")[0]["seed"]}


def test_a_value_beyond_its_tolerance_is_counted(again, capsys):
    rewrite(again, "downstream_collapse", lambda metrics: metrics | {"num_features": 1 + metrics["num_features"]})
    assert reproduce.report(RECORDS, again, reproduce.declared("one")) == 1
    assert "1 metrics are beyond their tolerance" in capsys.readouterr().out


def test_a_verdict_that_differs_is_marked_and_counted(again, capsys):
    rewrite(again, "collapse_in_training", lambda metrics: metrics | {"nc4": [0.5 for _ in metrics["nc4"]]})
    assert reproduce.report_verdicts(list(reproduce.judged(RECORDS, again, reproduce.declared()))) == 1
    assert "! P4 " in capsys.readouterr().out


def test_missing_cells_are_said_and_counted(again, capsys):
    path = again.path("tuned_layer", "demo")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    declared = reproduce.declared()
    number = len(declared["tuned_layer"])
    assert reproduce.report(RECORDS, again, declared) == 1
    assert f"{number} cells are committed, {number - 1} recomputed, of {number}" in capsys.readouterr().out


def test_a_study_without_a_tolerance_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    spreads = read_spreads(ROOT / reproduce.SPREADS)
    monkeypatch.setattr(reproduce, "read_spreads", lambda path: spreads[spreads["study"] != "scene_selection"])
    monkeypatch.setattr(reproduce, "fill", lambda *given, **options: pytest.fail("a cell was measured"))
    with pytest.raises(ValueError, match="scene_selection at demo scale; `make processors`"):
        reproduce.main()
    some = spreads[(spreads["study"] != "scene_selection") | (spreads["metric"] != "gbc")]
    monkeypatch.setattr(reproduce, "read_spreads", lambda path: some)
    with pytest.raises(ValueError, match="gbc of scene_selection has no tolerance"):
        reproduce.main()


@pytest.mark.parametrize("equal", [True, False])
def test_it_exits_as_it_says(again, monkeypatch, equal):
    """With records that are there in place of hours of work."""
    if not equal:
        rewrite(again, "downstream_collapse", lambda metrics: metrics | {"num_features": 1 + metrics["num_features"]})
    monkeypatch.setattr(reproduce, "AGAIN", again.folder.parent)
    run = []
    monkeypatch.setattr(reproduce, "fill", lambda records, study, scale, cells, *rest, **options: run.append(study))
    monkeypatch.setattr(reproduce, "measures", lambda source: defaultdict(lambda: run.append))
    arguments = ["--seeds", "all", "--go-on"]
    assert CliRunner().invoke(reproduce.app, arguments).exit_code == (0 if equal else 1)
    assert run == list(reproduce.declared())


@pytest.mark.parametrize("given", [["--like", "a toaster"], ["--study", "toasters"]])
def test_what_is_not_there_is_said_with_what_is(given):
    result = CliRunner().invoke(reproduce.app, given)
    assert result.exit_code == 2
    assert "there are" in result.output


def test_the_farthest_cells_are_rows_for_the_table_of_spreads(again):
    """So that what a whole run differed by is not lost."""
    rewrite(again, "source_collapse", lambda metrics: metrics | {"nc1": 1.5 * metrics["nc1"]})
    rewrite(again, "downstream_collapse", lambda metrics: metrics | {"cdnv": math.nan})  # no spread, but no agreement
    rows = pd.DataFrame(reproduce.farthest(RECORDS, again, reproduce.declared())).set_index(["study", "metric"])
    assert rows.loc[("source_collapse", "nc1"), "apart"] == pytest.approx(math.log(1.5), rel=1e-2)
    assert rows.loc[("source_collapse", "cdnv"), "apart"] == 0
    assert set(rows["combination"]) == {reproduce.FARTHEST}
    assert rows.index.is_unique
    assert rows["apart"].map(math.isfinite).all()
    assert "score_cost" not in rows.index.get_level_values("study")


def test_verdicts_of_another_processor_join_the_table_once(tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    monkeypatch.setattr(reproduce, "ROOT", tmp_path)
    monkeypatch.setattr(reproduce, "RECORDS", Records(tmp_path / "book" / "records"))
    monkeypatch.setattr(reproduce, "processor", lambda: "a toaster")
    protocols = {"collapse_in_training": Mock(digest="d")}
    monkeypatch.setattr(reproduce, "in_force", lambda study, scale, claim: protocols.get(study))
    for word in ("fails", "holds"):
        reproduce.keep_verdicts([Verdict(claim, word) for claim in CLAIMS], "AVX2")
    kept = reproduce.elsewhere(Records(tmp_path / "book" / "records"))
    assert kept["claim"].tolist() == [claim.key for claim in CLAIMS if claim.study == "collapse_in_training"]
    assert set(kept["processor"]) == {"a toaster as AVX2"}
    assert set(kept["word"]) == {"holds"}
