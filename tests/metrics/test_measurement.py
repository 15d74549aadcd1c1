"""The table of all metrics, and the registry behind it."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch

import nclib
from nclib import METRICS, Metric, measure
from nclib.metrics import pairs, ranks, samples, simplex, statistics
from nclib.metrics.measurement import Measurement, shortened
from tests.ranges import ends


def sample(num_classes: int = 5, per_class: int = 12, dim: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    means = torch.randn(num_classes, dim, generator=g)
    return means[labels] + 0.3 * torch.randn(len(labels), dim, generator=g), labels


FEATURES, LABELS = sample()
WEIGHT, BIAS = torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), torch.arange(5.0)


def test_the_table_holds_what_the_functions_give():
    table = measure(FEATURES, LABELS, WEIGHT, BIAS, metrics="all")
    stats = nclib.class_statistics(FEATURES, LABELS)
    assert list(table) == list(METRICS)
    assert table["nc1"] == nclib.nc1(stats)
    assert table["nc3"] == nclib.nc3(stats, WEIGHT)
    assert table["nc4"] == nclib.nc4(stats, FEATURES, WEIGHT, BIAS)
    assert table["nc2_weight"] == nclib.nc2(WEIGHT)
    assert table["directional_cdnv"] == nclib.directional_cdnv(stats, FEATURES, LABELS)
    assert table["class_stable_rank"] == float(nclib.class_ranks(FEATURES, LABELS)["stable"].mean())


def test_every_value_lies_in_its_range_and_every_entry_is_complete():
    table = measure(FEATURES, LABELS, WEIGHT, BIAS, metrics="all")
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.formula, f"the entry of {name} in metrics/registry.py has no formula"
        assert metric.source, f"the entry of {name} in metrics/registry.py has no source"
        low, high = ends(metric.range, 5, 8, table["cdnv"])
        assert low <= table[name] <= high, f"{name} is {table[name]}, and METRICS says that its range is {metric.range}"


def test_what_is_computed_depends_on_what_is_given():
    assert "nc3" not in measure(FEATURES, LABELS)
    assert "nc4" not in measure(nclib.class_statistics(FEATURES, LABELS), weight=WEIGHT)
    assert "nc3" in measure(nclib.class_statistics(FEATURES, LABELS), weight=WEIGHT)
    assert not any(METRICS[name].on_request for name in measure(FEATURES, LABELS, WEIGHT))
    assert list(measure(FEATURES, LABELS, metrics=["cdnv", "nc1"])) == ["cdnv", "nc1"]


def test_every_route_gives_the_same_numbers():
    whole = measure(FEATURES, LABELS)
    few = measure(FEATURES.repeat(1, 4), LABELS, metrics=["nc1", "cdnv"])  # wide: the span of the means will do
    assert few["nc1"] == pytest.approx(nclib.nc1(nclib.class_statistics(FEATURES.repeat(1, 4), LABELS)), rel=1e-10)
    streamed = nclib.ClassStatistics.from_batches(zip(FEATURES.split(7), LABELS.split(7), strict=True), 5)
    assert dict(measure(streamed)) == pytest.approx(dict(whole), rel=1e-10)
    assert dict(measure(FEATURES.numpy(), LABELS.numpy())) == dict(whole)


def test_classes_without_samples_are_left_out_and_noted():
    table = measure(FEATURES, LABELS * 2, WEIGHT.repeat_interleave(2, 0), BIAS.repeat_interleave(2))
    assert table.notes == ("5 of 10 classes have no samples and are left out (1, 3, 5, 7, 9)",)
    assert dict(table) == pytest.approx(dict(measure(FEATURES, LABELS, WEIGHT, BIAS)))
    assert table.num_classes == 5
    stats = nclib.class_statistics(FEATURES, LABELS * 2, num_classes=12)
    assert measure(stats).notes == ("7 of 12 classes have no samples and are left out (1, 3, 5, 7, 9 and 2 more)",)


def test_what_is_not_defined_is_noted_or_an_error_if_it_was_asked_for():
    stats = nclib.class_statistics(FEATURES, LABELS, covariance="diagonal")
    table = measure(stats)
    assert "nc1" not in table
    assert "nc1 is left out: these statistics have covariance='diagonal'; this metric needs 'full'" in table.notes
    with pytest.raises(ValueError, match="this metric needs 'full'"):
        measure(stats, metrics=["nc1"])


def test_a_reader_is_told_what_the_numbers_cannot_say():
    few = measure(FEATURES[::12], LABELS[::12])
    assert "5 of 5 classes have one sample, whose spread is taken as 0 (0, 1, 2, 3, 4)" in few.notes
    table = measure(FEATURES[::12], LABELS[::12], metrics=["vci"])
    assert "vci says nothing with 5 samples: two more samples than features are needed" in table.notes
    scores = nclib.score(FEATURES[::10], LABELS[::10], scores=["vci", "cdnv", "h_score"])
    assert scores.notes[-1] == "vci, h_score say nothing with 6 samples: two more samples than features are needed"
    assert scores.empty == ("vci", "h_score")
    exact = measure(LABELS.unsqueeze(1) * torch.ones(3), LABELS, metrics=["nc1"])
    assert exact.notes == ("the class means span 1 of 3 directions; nc1 and vci count only those",)


def test_the_table_prints_well_and_becomes_plain_python():
    table = measure(FEATURES, LABELS * 2, metrics=["cdnv", "nc2"])
    lines = str(table).splitlines()
    assert lines[0] == "60 samples, 5 classes, 8 features"
    assert lines[1].startswith("cdnv  ")
    assert lines[1].endswith("[0, ∞], lower is more collapsed")
    assert lines[3].startswith("note: 4 of 9 classes")
    plain = table.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["metrics"]["cdnv"] == table["cdnv"]
    page = table._repr_html_()
    assert "<td>cdnv</td>" in page
    assert "mean over pairs of (V_i + V_j)" in page
    assert "Note: 4 of 9" in page


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((FEATURES,), {}, "labels are missing"),
        (
            (FEATURES, LABELS),
            {"metrics": ["nc9"]},
            "'nc9' is not a metric; similar names are nc4, nc3, nc2; the metrics are nc1, nc1_ratio",
        ),
        ((FEATURES, LABELS), {"metrics": ["nc3"]}, r"nc3 needs weight; give weight=\.\.\.$"),
        (
            (nclib.class_statistics(FEATURES, LABELS),),
            {"metrics": ["class_stable_rank"]},
            "needs features; give features and labels in place of class statistics",
        ),
        ((FEATURES, LABELS), {"metrics": []}, "no metric was asked for"),
        ((FEATURES, LABELS), {"metrics": "nc1, cdnv"}, r"give a list: \['nc1', 'cdnv'\]"),
        ((FEATURES, LABELS), {"metrics": ["nc1,cdnv"]}, "metrics hold 'nc1,cdnv', which is several names in one"),
        ((FEATURES, LABELS, WEIGHT[:3]), {}, r"weight is \(3, 8\); it must be \(5, 8\)"),
        ((FEATURES, LABELS, WEIGHT.T), {}, r"weight is \(8, 5\); it must be \(5, 8\)"),
        ((nclib.class_statistics(FEATURES, LABELS), WEIGHT), {}, "statistics contain their labels and classes"),
        ((FEATURES, LABELS, WEIGHT[:, :3]), {}, r"weight is \(5, 3\); it must be \(5, 8\)"),
        ((FEATURES, LABELS, WEIGHT, BIAS[:3]), {}, r"bias is \(3,\); it must be \(5,\)"),
        ((FEATURES, LABELS[:7]), {}, r"features \(60, 8\) and labels \(7,\) must be"),
        ((FEATURES, LABELS), {"num_classes": 3}, r"labels run from 0 to 4; they must be 0\.\.2"),
        ((FEATURES, LABELS * 0), {}, "at least 2 are needed, 1 was given"),
        ((FEATURES * 0, LABELS), {}, "all class means coincide"),
        ((np.zeros((0, 3)), np.zeros(0, int)), {}, "there are no samples"),
    ],
)
def test_bad_input_says_what_was_given_and_what_is_allowed(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        measure(*arguments, **options)


def test_the_way_through_measure_checks_values_once(monkeypatch):
    """At the door; the passes after it, of directional CDNV, ranks and NC4, take what was checked."""
    seen, check = [], samples.check_values

    def counted(features, *, first_row=0):
        seen.append(len(features))
        return check(features, first_row=first_row)

    for module in (samples, pairs, ranks, simplex, statistics):
        monkeypatch.setattr(module, "check_values", counted, raising=False)
    measure(FEATURES, LABELS, WEIGHT, BIAS, metrics="all")
    assert sum(seen) <= len(FEATURES) + 1  # and the first row, before any work


def test_what_was_checked_is_taken_in_the_place_of_features_and_labels():
    given = samples.samples_of(FEATURES, LABELS)
    stats = nclib.class_statistics(given, None)
    assert nclib.directional_cdnv(stats, given, None) == nclib.directional_cdnv(stats, FEATURES, LABELS)
    assert nclib.class_ranks(given, None)["stable"].equal(nclib.class_ranks(FEATURES, LABELS)["stable"])
    with pytest.raises(ValueError, match="there are no samples"):
        samples.samples_of(FEATURES[:0], LABELS[:0])


def test_a_metric_of_ones_own_is_given_the_features_themselves(monkeypatch):
    own = Metric(
        "spread", lambda features, labels: float(features.std()), "", "", "lower", "", inputs=("features", "labels")
    )
    monkeypatch.setitem(METRICS, "spread", own)
    assert measure(FEATURES, LABELS, metrics=["spread", "nc1"])["spread"] == pytest.approx(float(FEATURES.std()))


@pytest.mark.parametrize("made", ["of its own", "of a shipped one"])
def test_a_function_that_wraps_one_of_nclib_is_given_the_features_themselves(monkeypatch, made):
    @functools.wraps(nclib.transrate)  # which also gives it the module's name
    def scaled(features, labels):
        return nclib.transrate(features / features.norm(), labels)

    own = Metric("scaled", scaled, "", "", "higher", "", inputs=("features", "labels"))
    if made == "of a shipped one":
        own = dataclasses.replace(nclib.SCORES["transrate"], name="scaled", compute=scaled)
    monkeypatch.setitem(METRICS, "scaled", own)
    assert measure(FEATURES, LABELS, metrics="scaled")["scaled"] == pytest.approx(scaled(FEATURES, LABELS))


LONG = "a metric of mine whose name is longer than the column that there is for names, number "


def test_long_names_readings_and_notes_fit_and_what_is_shortened_is_said():
    names = [f"{LONG}{number}" for number in (1, 2)] + [f"{LONG}1, too, and so on and so forth, number 1"]
    entry = Metric("m", lambda stats: 1.0, "f", "[0, 1], " + "of something " * 9, "lower", "ours")
    found = Measurement(dict.fromkeys(names, 0.5), 10, 2, 3, ("note " * 50,), dict.fromkeys(names, entry))
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 100
    short = shortened(names)
    assert len(set(short.values())) == 3
    assert max(map(len, short.values())) <= 40
    printed = " ".join(str(found).split())
    assert all(f"{short[name]} is {name}" in printed for name in names)
    assert shortened(["nc1", LONG * 2, LONG * 2 + "x"])["nc1"] == "nc1"
    same = shortened([f"{LONG}{k} with one end for all" for k in range(12)])
    assert len(set(same.values())) == 12


@pytest.mark.parametrize("value", [torch.tensor(0.5), np.float32(0.5), torch.tensor([[0.5]]), True])
def test_a_metric_of_others_gives_a_plain_number_that_json_takes(value, monkeypatch):
    monkeypatch.setitem(METRICS, "mine", Metric("mine", lambda stats: value, "f", "[0, 1]", "lower", "ours"))
    found = nclib.measure(torch.eye(2).repeat(2, 1), [0, 1, 0, 1], metrics=["mine", "nc1"])
    assert json.loads(json.dumps(found.to_dict()))["metrics"]["mine"] == float(value)
    assert type(found["mine"]) is float


def test_a_metric_of_several_numbers_is_an_error(monkeypatch):
    monkeypatch.setitem(METRICS, "mine", Metric("mine", lambda stats: stats.means, "f", "[0, 1]", "lower", "ours"))
    with pytest.raises(TypeError, match="mine gave a Tensor; a metric must give one number"):
        nclib.measure(torch.eye(2).repeat(2, 1), [0, 1, 0, 1], metrics=["mine"])


def test_what_is_infinite_is_a_float_in_the_dictionary():
    found = nclib.measure(torch.eye(4)[[0, 1, 0, 1, 2, 3]], [0, 0, 1, 1, 2, 2], metrics=["cdnv"]).to_dict()
    assert found["metrics"]["cdnv"] == float("inf")
    assert json.dumps(found)


@pytest.mark.parametrize("metrics", [3, [3], [None], [["nc1"]], [nclib.nc1]])
def test_metrics_that_are_no_names_are_an_error(metrics):
    with pytest.raises(TypeError, match=r"metrics hold .*; give a name, or a list of names"):
        measure(FEATURES, LABELS, metrics=metrics)
    with pytest.raises(TypeError, match=r"scores hold .*; give a name, or a list of names"):
        nclib.score(FEATURES, LABELS, scores=metrics)


def test_one_is_no_plural():
    features = torch.tensor([[0.0], [1.0], [4.0]])
    found = measure(features, [0, 0, 2], num_classes=3, metrics=["cdnv"])
    assert str(found).startswith("3 samples, 2 classes, 1 feature\n")
    assert found.notes == (
        "1 of 3 classes has no samples and is left out (1)",
        "1 of 3 classes has one sample, whose spread is taken as 0 (2)",
    )
    assert repr(nclib.class_statistics(features, [0, 0, 1])).endswith("of 3 samples, 2 classes x 1 feature>")
