"""The live checks of the chapters: sharp enough to notice a change, and nothing of the machine gets into a notebook."""

import math
import re
import shutil
from functools import cache, partial
from importlib.metadata import version

import nbformat
import pandas as pd
import pytest

import nclib
from nclib.devices import double_precision
from nclib.experiments.records import as_table, record_of
from nclib.experiments.run import start
from nclib.experiments.studies import LIVE, live_cell
from nclib.experiments.tolerances import differences, kind, read_spreads, tolerances
from nclib.models import recipes
from workflow import live
from workflow.measures import RECORDS, ROOT, chapter, chapters, measures

SPREADS = read_spreads(ROOT / "book" / "processors.csv")
EXECUTED = [source.with_suffix(".ipynb") for source in chapters()]
PINS = (ROOT / "constraints.txt").read_text().splitlines()
OTHER_TEXTS = [name for name in ("networkx", "docutils") if f"{name}=={version(name)}" not in PINS]
reads_docstrings = pytest.mark.skipif(bool(OTHER_TEXTS), reason=f"other docstrings: {OTHER_TEXTS} are not as pinned")
STUDIES = [pytest.param(study, marks=reads_docstrings if study == "text_selection" else ()) for study in LIVE]


@cache
def measure_of(study):
    return partial(measures(chapter(study))[study], cache=None)


@cache
def measured_now(study):
    """The live cell, measured once for all tests."""
    with double_precision():
        return record_of(study, "check", live_cell(study), measure_of(study))


def recorded(study):
    return RECORDS.select(study, "check", [live_cell(study)])[0]


def allowed(study):
    return tolerances(SPREADS, [study], "check", [live_cell(study)])


@pytest.mark.parametrize("study", STUDIES)
def test_the_live_cell_of_every_study_agrees_here(study):
    found = differences(as_table([recorded(study)]), as_table([measured_now(study)]), allowed(study))
    assert len(found) >= 3
    assert found["agrees"].all(), found.to_string()


@pytest.mark.parametrize("study", STUDIES)
def test_one_changed_digit_of_any_metric_of_a_record_fails_the_live_check(study):
    """The fourth digit of what is compared by ratio or is beyond 1, the fourth decimal of the rest."""
    for metric in allowed(study):
        value = recorded(study)["metrics"][metric]
        if value == []:  # a network that did not come to the loss of comparison
            continue
        last = value[-1] if isinstance(value, list) else value
        digits = math.floor(math.log10(abs(last))) if last and (kind(metric) == "ratio" or abs(last) > 1) else -1
        place = digits - 3
        changed = last + 10.0**place
        record = recorded(study)
        record["metrics"][metric] = [*value[:-1], changed] if isinstance(value, list) else changed
        found = differences(as_table([record]), as_table([measured_now(study)]), allowed(study))
        assert found.index[~found["agrees"]].tolist() == [metric]


@pytest.fixture
def run(tmp_path):
    """A run with the book's records and spreads, and a place of its own for what is measured."""
    shutil.copytree(ROOT / "book" / "records", tmp_path / "book" / "records")
    shutil.copy(ROOT / "book" / "processors.csv", tmp_path / "book")
    return start(root=tmp_path)


def wrong(run, study):
    """The metrics of a study that do not agree, after something was changed."""
    found = run.live({study: lambda cell, cache: measure_of(study)(cell)})
    return found.index[~found["agrees"]].get_level_values(1).tolist()


@pytest.mark.parametrize("study", ["source_collapse", "fine_tuning", "geometric_complexity", "scene_selection"])
def test_a_changed_recipe_fails_the_live_check(run, study, monkeypatch):
    monkeypatch.setattr(recipes, "_MOMENTUM", 0.89)
    assert len(wrong(run, study)) >= 3


@pytest.mark.parametrize(
    ("study", "metric", "name"),
    [("source_collapse", "nc1", "nc1"), ("scene_selection", "class_unfairness", "class_fairness")],
)
def test_a_broken_metric_fails_the_live_check(run, study, metric, name, monkeypatch):
    whole = getattr(nclib, name)
    monkeypatch.setattr(nclib, name, lambda *given, **options: 1.001 * whole(*given, **options))
    assert wrong(run, study) == [metric]


def test_a_metric_that_vanished_fails_the_live_check(run):
    found = run.live(
        {"source_collapse": lambda cell, cache: {"nc1": measured_now("source_collapse")["metrics"]["nc1"]}}
    )
    assert found.index[found["agrees"]].tolist() == [("source_collapse", "nc1")]
    assert len(found) > 3


@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: path.stem)
def test_an_executed_notebook_holds_no_number_of_a_live_cell(path):
    """All that a live cell says follows from records and spreads: it can be told without measuring."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    (cell,) = [cell for cell in cells if "live" in cell.metadata.get("tags", [])]
    named = [each.source for each in cells if "STUDIES = " in each.source]  # which the live cell may only refer to
    code, rows = "".join([cell.source, *named]), {}
    for study in [study for study in LIVE if f'"{study}"' in code]:
        same = as_table([recorded(study)])  # in place of what was measured
        rows[study] = differences(same, same, allowed(study))
    expected = pd.concat(rows)[["recorded", "tolerance", "agrees"]].rename_axis([None, "metric"])
    said, table = cell.outputs
    assert said.text == "the live check agrees with the records: True\n"
    with pd.option_context("display.max_rows", None, "display.precision", 4):
        assert numbers(table.data["text/plain"]) == numbers(repr(expected))
        assert numbers(table.data["text/html"]) == numbers(expected.to_html())


def numbers(text):
    return re.findall(r"\d+\.\d+(?:e-\d+)?", text)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_an_executed_notebook_does_not_say_what_it_ran_on(path):
    said = [
        output.get("text", "") for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])
    ]
    records = re.compile(r"made with nclib [^\n]*")  # where records come from is the same everywhere
    assert not re.search(r"nclib \d+\.\d+\.\d|torch \d|NVIDIA|AMD|Intel", records.sub("", "\n".join(said)))


def test_what_is_checked_on_other_processors_is_what_the_chapters_check():
    for path in EXECUTED:
        whole = nbformat.read(path, as_version=4)
        found = live.live_only(whole)
        assert found.cells[-1] in whole.cells
        assert found.cells[-1].metadata.tags == ["live"]
        assert any("run.study" in cell.source for cell in found.cells)
    with pytest.raises(ValueError, match="no cell with the tag live"):
        live.live_only(nbformat.v4.new_notebook())
