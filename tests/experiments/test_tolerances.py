"""How values are compared, and that every tolerance follows from what was measured of processors."""

import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, strategies as st

from nclib.experiments.records import cell_digest
from nclib.experiments.scales import settings
from nclib.experiments.studies import LIVE, STUDIES, cells_of, live_cell
from nclib.experiments.tolerances import CHANGES, FIELDS, apart, differences, kind, read_spreads, tolerances
from workflow import reproduce
from workflow.measures import RECORDS

ROOT = Path(__file__).parents[2]
SPREADS = read_spreads(ROOT / "book" / "processors.csv")
CELL = {"width": 2, "seed": 0}
positive = st.floats(1e-6, 1e6)

HEAD = ",".join(FIELDS) + "\n"


def rows(*spreads, combination="as it is", scale="demo"):
    place = ["a processor", combination, "toy", scale, cell_digest(CELL)]
    return pd.DataFrame([[*place, *pair] for pair in spreads], columns=FIELDS)


@pytest.mark.parametrize(
    ("metric", "how"),
    [
        ("accuracy", "counted"),
        ("matched_accuracy_5", "counted"),
        ("nc4", "counted"),
        ("probe_iou", "counted"),
        ("samples_error", "difference"),
        ("class_unfairness_sharp", "difference"),
        ("logme", "difference"),
        ("nce", "difference"),
        ("variance_collapse", "ratio"),
        ("nc1", "ratio"),
        ("complexity", "ratio"),
        ("nc1_ratio", "ratio"),
        ("seconds_tuning", None),
        ("picture", None),
    ],
)
def test_what_lies_in_an_interval_is_compared_by_difference(metric, how):
    assert kind(metric) == how


def test_known_distances():
    assert apart("accuracy", 0.5, 0.75) == 0.25
    assert apart("nc1", 2.0, 4.0) == pytest.approx(math.log(2))
    assert apart("variance_collapse", -4.0, -2.0) == pytest.approx(math.log(2))
    assert apart("nc1", [1.0, [2.0, 3.0]], [1.0, [2.0, 6.0]]) == pytest.approx(math.log(2))
    assert apart("nc1", 0.0, 0.0) == 0
    assert apart("nc1", [], []) == 0


@pytest.mark.parametrize(("old", "new"), [(1.0, 0.0), (1.0, -1.0), ([1.0], [1.0, 1.0]), ([1.0], 1.0)])
def test_what_cannot_be_compared_is_infinitely_far(old, new):
    assert apart("nc1", old, new) == math.inf


@given(positive, positive)
def test_distance_is_symmetric_and_none_of_a_value_from_itself(a, b):
    for metric in ("accuracy", "nc1", "logme"):
        assert apart(metric, a, b) == pytest.approx(apart(metric, b, a))
        assert apart(metric, a, a) == 0


def test_a_tolerance_is_three_times_the_largest_spread_and_not_nothing():
    spreads = pd.concat([rows(("nc1", 0.1), ("cdnv", 0.0), ("accuracy", 0.0)), rows(("nc1", 0.2), combination="SSE")])
    found = tolerances(spreads, ["toy"], "demo", [CELL])
    assert found == {"nc1": pytest.approx(0.6), "cdnv": 2e-5, "accuracy": 5e-3}


def test_a_metric_that_a_changed_recipe_hardly_moves_is_no_check():
    moved = rows(("nc1", 0.8), ("cdnv", 0.5), ("accuracy", 0.01), combination=CHANGES[0], scale="check")
    lower = rows(("nc1", 0.5), ("cdnv", 0.9), ("accuracy", 0.5), combination=CHANGES[1], scale="check")
    spreads = pd.concat([rows(("nc1", 0.1), ("cdnv", 0.01), ("accuracy", 0.0), scale="check"), moved, lower])
    found = tolerances(spreads, ["toy"], "check", [CELL])
    assert found == {"cdnv": pytest.approx(0.03), "accuracy": 2e-5}  # of which all processors have the same


def test_a_metric_that_is_gone_does_not_agree():
    old = pd.DataFrame({"nc1": [1.0], "cdnv": [1.0]})
    assert differences(old, old[["nc1"]], {"nc1": 0.1, "cdnv": 0.1})["agrees"].to_dict() == {"nc1": True, "cdnv": False}


@pytest.mark.parametrize(
    "text",
    [
        *("a,b\n1,2\n", HEAD + "<<<<<<< ours\n", ",".join(FIELDS[:-1]) + "\n", "", "# a comment\n"),
        *(HEAD + "p,c,s,demo,d,m,hello\n", HEAD + "p,c,s,demo,d,m,-1\n", HEAD + "p,c,s,demo,d,m,0,1\n", HEAD + "\xff"),
    ],
)
def test_a_table_that_is_not_whole_is_an_error(tmp_path, text):
    (tmp_path / "processors.csv").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"processors.csv is not .*restore it from git"):
        read_spreads(tmp_path / "processors.csv")


def test_a_study_that_nobody_measured_is_an_error():
    with pytest.raises(ValueError, match="toy at demo scale; `make processors` measures it"):
        tolerances(SPREADS, ["toy"], "demo", [CELL])


def test_differences_say_the_largest_and_whether_it_is_allowed():
    old = pd.DataFrame({"accuracy": [0.5, 0.5], "nc1": [[9.0, 2.0], [1.0, 1.0]], "extra": [1.0, 1.0]})
    new = old.assign(accuracy=[0.5, 0.53], nc1=[[9.0, 4.0], [1.0, 1.0]])
    found = differences(old, new, {"accuracy": 0.04, "nc1": 0.5})
    assert found["apart"].round(6).to_dict() == {"accuracy": 0.03, "nc1": 0.693147}
    assert found["agrees"].to_dict() == {"accuracy": True, "nc1": False}
    assert found.loc["nc1", ["recorded", "now"]].tolist() == [2.0, 4.0]
    with pytest.raises(ValueError, match="the tables have 2 and 1 rows"):
        differences(old, new[:1], {"accuracy": 0.1})


# What claims rest on, study by study: a live check that lost one of them would be worth less.
HELD = {
    "collapse_in_training": {"nc1", "nc2", "nc3", "nc4", "train_error"},
    "source_collapse": {"nc1", "accuracy"},
    "downstream_collapse": {"nc1", "nc1_ratio", "cdnv", "vci", "accuracy", "accuracy_1", "accuracy_5", "accuracy_20"},
    "collapse_by_layer": {"nc1", "cdnv", "accuracy"},
    "fine_tuning": {"accuracy", "nc1", "share"},
    "data_scarcity": {"accuracy", "train_accuracy"},
    "tuned_layer": {"accuracy", "nc1_test"},
    "forced_collapse": {"accuracy", "nc1"},
    "geometric_complexity": {"complexity", "cdnv", "matched_complexity", "matched_target_cdnv", "poincare"},
    "complexity_penalty": {"complexity", "cdnv"},
    "dialled_complexity": {"complexity", "cdnv"},
    "complexity_estimates": {"samples_error", "entries_error", "outputs_error"},
    "model_selection": {"variance_collapse", "class_fairness", "nc1_tuned", "accuracy", "logme", "leep"},
    "scene_selection": {"variance_collapse", "class_fairness", "accuracy"},
    "text_selection": {"variance_collapse", "class_fairness", "accuracy"},
}


@pytest.mark.parametrize("study", LIVE)
def test_a_live_check_holds_what_claims_rest_on_and_would_notice_a_changed_recipe(study):
    assert study in HELD, f"say in HELD of {Path(__file__).name} which numbers of {study} its claims rest on"
    found = tolerances(SPREADS, [study], "check", [live_cell(study)])
    lost = HELD[study] - found.keys()
    assert not lost, f"the live cell of {study} does not check {lost}: choose another, or one trained for longer"
    measured = SPREADS[(SPREADS["study"] == study) & (SPREADS["cell"] == cell_digest(live_cell(study)))]
    moved = measured[measured["combination"].isin(CHANGES)].groupby("metric")["apart"].max()
    assert sum(3 * tolerance <= moved[metric] for metric, tolerance in found.items()) >= 3


@pytest.mark.parametrize("study", [study for study in STUDIES if STUDIES[study](settings("demo"), [0])])
def test_every_metric_of_a_demo_record_has_a_tolerance(study):
    records = RECORDS.select(study, "demo", cells_of(study, "demo"))
    assert records, f"{study} has no demo record: python -m workflow.execute with its chapter's notebook makes them"
    metrics = records[0]["metrics"]
    found = reproduce.allowed(SPREADS, study, metrics)
    if study in reproduce.TIMED:
        assert found == {}
    else:
        assert {name for name in metrics if kind(name)} <= found.keys()
        assert all(0 < value < math.inf for value in found.values())


def test_processors_are_named_and_six_ways_to_compute_are_tried():
    tried = SPREADS[~SPREADS["combination"].isin(CHANGES)]
    assert tried["processor"].notna().all()
    assert tried.groupby("processor")["combination"].nunique().max() >= 6


def test_numbers_beyond_one_differ_by_their_digits():
    """A record keeps six digits of 184.529, so a unit of the last is no difference."""
    assert apart("ncti_spread", 184.529, 184.530) < 2e-5 < apart("ncti_spread", 184.529, 184.629)
    assert apart("vci", 0.5, 0.6) == pytest.approx(0.1)


def test_what_could_not_be_compared_has_no_tolerance():
    spreads = rows(("nc1", math.inf), ("cdnv", 0.1))
    assert tolerances(spreads, ["toy"], "demo", [CELL]) == {"cdnv": pytest.approx(0.3)}


def test_a_live_cell_is_not_checked_without_what_a_change_moves():
    spreads = rows(("nc1", 0.1), scale="check")
    with pytest.raises(ValueError, match="the effect of a change of toy is unknown"):
        tolerances(spreads, ["toy"], "check", [CELL])


def test_one_sample_is_no_difference():
    old, new = pd.DataFrame({"accuracy": [0.865]}), pd.DataFrame({"accuracy": [0.87]})
    spreads = rows(("accuracy", 0.0))
    assert differences(old, new, tolerances(spreads, ["toy"], "demo", [CELL]))["agrees"].all()
