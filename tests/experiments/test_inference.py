"""The one inference of the book: replicates, panels, several tests, power, and coverage."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy.stats import ttest_1samp, ttest_rel

from nclib.estimates import Estimate, fisher, mean, partial_spearman
from nclib.experiments.inference import (
    by_panel,
    enough,
    holm,
    panels_differ,
    rows_of,
    seeds_or_panels,
    simulated,
    summaries,
    summary,
    to_show_none,
)
from workflow import coverage

numbers = st.lists(st.floats(-5, 5), min_size=3, max_size=9)


def crossed(values):
    """Rows of an array (replicates, panels)."""
    replicates, panels = np.indices(np.shape(values))
    return rows_of(np.ravel(values), replicate=replicates.ravel(), panel=[f"p{i}" for i in panels.ravel()])


def test_replicates_in_all_panels_are_one_each_and_of_one_panel_several():
    values = np.array([[1.0, 5.0], [2.0, 6.0], [4.0, 7.0]])
    assert summary(crossed(values)) == mean(values.mean(1))
    apart = crossed(values).assign(replicate=range(6))
    assert summary(apart) == mean(values.ravel(), np.tile([0, 1], 3))
    assert by_panel(apart) == by_panel(crossed(values)) == {"p0": mean(values[:, 0]), "p1": mean(values[:, 1])}


def test_replicates_in_some_panels_only_are_refused():
    with pytest.raises(ValueError, match=r"2 of 3 replicates are in several panels, but not in all"):
        summary(rows_of([1, 2, 3, 4, 5], replicate=[0, 0, 1, 1, 2], panel=["a", "b", "b", "c", "a"]))


def test_contrasts_are_apart():
    found = summaries(rows_of([1, 2, -1, -2], replicate=[0, 1, 0, 1], contrast=["up", "up", "down", "down"]))
    assert {name: each.value for name, each in found.items()} == {"up": 1.5, "down": -1.5}


def test_seeds_are_replicates_only_where_every_panel_has_several():
    table = pd.DataFrame({"seed": [0, 1, 0, 1], "panel": list("aabb"), "value": [1.0, 2.0, 3.0, 5.0]})
    assert seeds_or_panels(table)["replicate"].tolist() == [0, 1, 0, 1]
    panels = seeds_or_panels(table.iloc[:3])
    assert dict(zip(panels["replicate"], panels["value"], strict=True)) == {"a": 1.5, "b": 3.0}


@given(numbers, st.floats(-1, 1))
def test_p_values_are_those_of_a_t_test_and_of_two_one_sided_ones(values, threshold):
    estimate = mean(np.array(values))
    if not estimate.error > 1e-6:
        return
    assert estimate.p_value(threshold) == pytest.approx(ttest_1samp(values, threshold).pvalue, abs=1e-6)
    smallest = 0.7
    least = max(
        ttest_1samp(values, threshold - smallest, alternative="greater").pvalue,
        ttest_1samp(values, threshold + smallest, alternative="less").pvalue,
    )
    assert estimate.p_of_no_effect(threshold, smallest) == pytest.approx(min(2 * least, 1), abs=1e-6)
    inside = threshold - smallest < estimate.low and estimate.high < threshold + smallest
    assert (estimate.p_of_no_effect(threshold, smallest) < 0.05) == inside


def test_equal_values_leave_no_doubt():
    equal = mean(np.array([0.5, 0.5, 0.5]))
    assert equal.p_value(0.5) == 1
    assert equal.p_value(0.4) == 0
    assert equal.p_of_no_effect(0.5, 0.1) == 0
    assert math.isnan(Estimate(0.5).p_value(0))


def test_panels_that_differ_are_seen():
    rng = np.random.default_rng(0)
    same, shifted = rng.normal(size=(8, 3)), rng.normal([0, 0, 3], size=(8, 3))
    for values, differ in ((same, False), (shifted, True)):
        assert (panels_differ(crossed(values)) < 0.05) == differ
        assert (panels_differ(crossed(values).assign(replicate=range(24))) < 0.05) == differ
    assert panels_differ(crossed(shifted[:, :2])) == pytest.approx(ttest_rel(*shifted[:, :2].T).pvalue)
    assert math.isnan(panels_differ(crossed(same[:, :1])))
    assert math.isnan(panels_differ(crossed(same[:1])))


def test_holm_is_that_of_the_textbook_and_leaves_out_what_is_no_test():
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([]) == []
    assert math.isnan(holm([math.nan])[0])


def test_enough_replicates_have_the_power_that_is_asked_for():
    rng = np.random.default_rng(0)
    estimate = mean(rng.normal(0.6, 1, 10))
    number = enough(estimate, 10, 0.0)
    effect, deviation = 2 / 3 * estimate.value, estimate.error * 10**0.5
    found = {
        n: np.mean(ttest_1samp(rng.normal(effect, deviation, (4000, n)), 0, axis=1).pvalue < 0.05)
        for n in (int(number), int(0.7 * number))
    }
    powers = list(found.values())
    assert powers[0] > 0.87
    assert powers[1] < powers[0] - 0.05
    assert enough(mean(np.array([1.0, 1.01, -2.0])), 3, 0.0) == math.inf
    assert math.isnan(enough(mean(np.ones(3)), 3, 0.0))


def test_so_many_replicates_show_that_there_is_no_effect():
    rng = np.random.default_rng(0)
    estimate = Estimate(0.03, -0.17, 0.23, 0.1, 9)
    number = int(to_show_none(estimate, 10, 0.0, 0.1))
    drawn = rng.normal(0.02, 0.1 * 10**0.5, (4000, number))
    half = 1.96 * drawn.std(1, ddof=1) / number**0.5
    assert np.mean(np.abs(drawn.mean(1)) + half < 0.1) == pytest.approx(0.9, abs=0.03)
    assert to_show_none(Estimate(0.3, 0.1, 0.5, 0.1, 9), 10, 0.0, 0.1) == math.inf
    assert math.isnan(to_show_none(mean(np.ones(3)), 3, 0.0, 0.1))


def test_simulated_replicates_have_the_means_and_covariances_of_those_given():
    rng = np.random.default_rng(0)
    base = rng.normal(size=400)
    rows = rows_of(
        np.concatenate([1 + base, 2 - base]),
        replicate=np.tile(np.arange(400), 2),
        contrast=np.repeat(["up", "down"], 400),
    )
    ends = simulated(rows, 25, 0.0, effect=0.5)
    middle = {name: (low + high) / 2 for name, (low, high) in ends.items()}
    assert middle["up"].mean() == pytest.approx(0.5, abs=0.03)
    assert middle["down"].mean() == pytest.approx(1.0, abs=0.03)
    assert np.corrcoef(middle["up"], middle["down"])[0, 1] == pytest.approx(-1, abs=1e-6)
    low, high = ends["up"]
    assert np.mean((low < 0.5) & (high > 0.5)) == pytest.approx(0.95, abs=0.02)


def test_fisher_and_a_partial_correlation():
    assert fisher([0.5, 1.0, -1.0]).tolist() == pytest.approx([math.atanh(0.5), math.atanh(0.995), -math.atanh(0.995)])
    x, y = np.array([1, 2, 3, 4, 5]), np.array([2, 1, 4, 3, 5])
    assert math.isnan(partial_spearman(x, y, x))
    rng = np.random.default_rng(0)
    depth = rng.normal(size=4000)
    a, b = (depth + rng.normal(size=4000) for _ in range(2))
    assert partial_spearman(a, b, depth) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("design", coverage.DESIGNS)
def test_intervals_hold_the_truth_as_often_as_they_say(design):
    committed = pd.read_csv(coverage.TABLE).set_index("design")["covered"]
    assert 0.93 <= committed[design] <= 0.97
    assert coverage.covered(design, 1000) == pytest.approx(committed[design], abs=0.03)
