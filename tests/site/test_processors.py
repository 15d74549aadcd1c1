"""What is emulated, what of the table is kept, and that its pages follow from it."""

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from nclib.experiments.records import Records, cell_digest
from nclib.experiments.studies import LIVE, live_cell
from nclib.experiments.tolerances import CHANGES, FIELDS, kind, read_spreads
from workflow import pages, processors
from workflow.measures import ROOT

ROW = dict(zip(FIELDS, ["a", "as it is", "toy", "demo", "0", "nc1", 0.1], strict=True))


def test_rows_of_other_machines_are_kept_and_of_one_the_larger():
    known = pd.DataFrame([ROW, ROW | {"processor": "b", "apart": 0.3}])
    both = processors.merged(known, [ROW | {"apart": 0.05}, ROW | {"processor": "c"}, ROW | {"metric": "cdnv"}])
    assert both.set_index(["processor", "metric"])["apart"].to_dict() == {
        ("a", "nc1"): 0.1,
        ("b", "nc1"): 0.3,
        ("c", "nc1"): 0.1,
        ("a", "cdnv"): 0.1,
    }
    assert processors.merged(both, []).equals(both)


def test_a_table_is_read_as_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "TABLE", tmp_path / "book" / "processors.csv")
    processors.keep([ROW | {"processor": "one, with a comma"}])
    processors.keep([ROW | {"apart": float("inf")}])
    found = read_spreads(processors.TABLE)
    assert found["processor"].tolist() == ["a", "one, with a comma"]
    assert found["apart"].tolist() == [float("inf"), 0.1]


def test_six_combinations_are_named_and_only_lower_ones_are_emulated(monkeypatch):
    assert len(processors.COMBINATIONS) == 6
    for found, number in ((["X86_V3"], 5), (["SSE41", "AVX2"], 5), (["X86_V3", "X86_V4"], 6), (["ASIMDHP"], 2)):
        monkeypatch.setattr(processors, "_FOUND", found)
        assert sum(each.possible for each in processors.COMBINATIONS.values()) == number


def test_cells_of_the_demo_are_taken_evenly():
    assert len(processors.sample("source_collapse", 3)) == 3
    assert len(processors.sample("collapse_in_training", 9)) == 8
    assert processors.sample("fine_tuning", 0) == []


@pytest.mark.parametrize("study", LIVE)
def test_a_change_of_a_live_cell_is_one_that_a_reader_could_make(study):
    cell = live_cell(study)
    for change in CHANGES:
        changed = processors.changed(cell, change)
        assert changed.keys() == cell.keys()
        assert cell_digest(changed) != cell_digest(cell)


def test_a_cell_without_a_record_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "RECORDS", Records(tmp_path))
    for scale in ("check", "demo"):
        with pytest.raises(ValueError, match=rf"source_collapse at {scale} scale has no record of .*; only"):
            processors.recorded("source_collapse", scale, live_cell("source_collapse"))


@pytest.mark.parametrize("wrong", [["--study", "poems"], ["--combination", "abacus"]])
def test_unknown_names_are_refused(wrong):
    app = typer.Typer()
    app.command()(processors.main)
    done = CliRunner().invoke(app, wrong)
    assert done.exit_code == 2
    assert wrong[1] in done.output


def test_the_page_is_that_of_the_table():
    assert set(pages.KINDS) == set(read_spreads(processors.TABLE)["metric"].map(kind))
    assert (ROOT / "book" / "processors_table.md").read_text() == pages.processors_page()


def test_of_what_a_change_moves_the_smaller_is_kept():
    known = pd.DataFrame([row(name, apart=0.5) for name in ("one", CHANGES[0])])
    both = processors.merged(known, [row(name, apart=0.1) for name in ("one", CHANGES[0])])
    assert both.set_index("combination")["apart"].to_dict() == {"one": 0.5, CHANGES[0]: 0.1}


def test_two_processes_keep_each_others_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "TABLE", tmp_path / "processors.csv")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: processors.keep([row(f"c{i}", apart=i)]), range(24)))
    assert len(read_spreads(tmp_path / "processors.csv")) == 24


def test_a_combination_is_not_mixed_with_what_is_emulated_already(monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert "ATEN_CPU_CAPABILITY" not in processors.COMBINATIONS[processors.NATIVE].environment
    assert processors.COMBINATIONS["AVX2"].environment["ATEN_CPU_CAPABILITY"] == "avx2"


def row(combination, *, apart):
    return dict(zip(FIELDS, ("p", combination, "toy", "check", "d", "nc1", apart), strict=True))
