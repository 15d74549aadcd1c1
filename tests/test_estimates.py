"""Estimates: rank correlations and means, and that their intervals cover the truth as often as they say."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr, t, ttest_1samp

from nclib import estimates
from nclib.estimates import Estimate


def test_rank_correlation_is_scipys_and_its_interval_holds_it():
    rng = np.random.default_rng(0)
    x, groups = rng.normal(size=40), np.arange(40)
    y = x + rng.normal(size=40)
    estimate = estimates.rank_correlation(x, y, groups)
    assert estimate.value == pytest.approx(spearmanr(x, y).statistic)
    assert -1 <= estimate.low < estimate.value < estimate.high <= 1
    assert estimates.rank_correlation(x, np.exp(x), groups).value == pytest.approx(1)
    assert estimate == estimates.rank_correlation(x, y, groups)


def test_the_rank_correlation_is_bootstrapped_as_any_statistic_is():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 9, size=(2, 30)).astype(float)  # with ties
    for groups in (np.arange(30), np.repeat(np.arange(10), 3), rng.integers(0, 12, size=30)):
        assert estimates.rank_correlation(x, y, groups) == estimates.bootstrap(
            estimates.mean_spearman, x, y, groups=groups
        )


def test_what_a_block_shifts_is_no_link():
    """Three seeds that shift both sides of every recipe alike, and a recipe that does nothing to either."""
    rng = np.random.default_rng(0)
    recipes, seeds = np.tile(np.arange(13), 3), np.repeat(np.arange(3), 13)
    x, y = 5.0 * seeds + rng.normal(size=(2, 39))
    pooled = estimates.rank_correlation(x, y, recipes)
    within = estimates.rank_correlation(x, y, recipes, blocks=seeds)
    assert pooled.low > 0.5
    assert within.low < 0 < within.high
    assert within.value == pytest.approx(np.mean([spearmanr(x[seeds == k], y[seeds == k]).statistic for k in range(3)]))


def test_strata_are_not_mixed_and_each_counts_the_same():
    x = np.concatenate([np.arange(8.0), 100 + np.arange(20.0)])
    y = np.concatenate([-np.arange(8.0), 100 + np.arange(20.0)])
    strata = np.repeat(["a", "b"], [8, 20])
    assert estimates.rank_correlation(x, y, np.arange(28), strata=strata) == Estimate(0.0, 0.0, 0.0)
    assert estimates.rank_correlation(x, y, strata, strata=strata) == Estimate(0.0)  # one group in each: no interval


def test_a_mean_over_strata_has_the_error_within_them():
    x, strata = np.array([1.0, 3.0, 11.0, 13.0, 15.0]), np.array([0, 0, 1, 1, 1])
    estimate = estimates.mean(x, strata)
    assert estimate.value == 7.5
    error = np.sqrt(2 / 2 + 4 / 3) / 2
    freedom = (2 / 2 + 4 / 3) ** 2 / (1 + (4 / 3) ** 2 / 2)
    assert estimate.high - 7.5 == pytest.approx(t.ppf(0.975, freedom) * error)
    assert math.isnan(estimates.mean(x, np.array([0, 0, 1, 1, 2])).low)


def test_many_samples_at_once_have_the_errors_of_each():
    samples = [np.random.default_rng(i).normal(size=(4, size)) for i, size in enumerate((3, 5))]
    value, error, freedom = estimates.student(samples)
    for i in range(4):
        one = estimates.mean(np.concatenate([part[i] for part in samples]), np.repeat([0, 1], [3, 5]))
        assert [value[i], error[i], freedom[i]] == pytest.approx([one.value, one.error, one.freedom])


def test_the_rank_correlation_with_a_constant_is_undefined():
    assert math.isnan(estimates.rank_correlation(np.ones(5), np.arange(5), np.arange(5)).value)


def test_the_interval_of_a_rank_correlation_covers_the_truth_when_seeds_are_no_new_evidence():
    """Of eight independent groups with three near copies each, most intervals hold 0, though n is 24."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 3)
    covered = {"groups": 0, "samples": 0}
    for _ in range(40):
        x, y = rng.normal(size=(2, 8))[:, groups] + 0.05 * rng.normal(size=(2, 24))
        for name, unit in (("groups", groups), ("samples", np.arange(24))):
            estimate = estimates.rank_correlation(x, y, unit)
            covered[name] += estimate.low <= 0 <= estimate.high
    assert covered["groups"] >= 34 > covered["samples"]


def test_the_interval_of_a_mean_of_three_covers_the_truth():
    rng = np.random.default_rng(0)
    found = [estimates.mean(rng.normal(size=3)) for _ in range(400)]
    covered = sum(estimate.low <= 0 <= estimate.high for estimate in found)
    assert 368 <= covered <= 392
    assert estimates.mean(np.array([3.0])).value == 3.0
    assert math.isnan(estimates.mean(np.array([3.0])).low)


def test_the_interval_and_the_p_value_of_a_mean_are_scipys():
    x = np.random.default_rng(0).normal(0.3, size=12)
    estimate, scipys = estimates.mean(x), ttest_1samp(x, 0.1)
    interval = scipys.confidence_interval()
    assert [estimate.low, estimate.high] == pytest.approx([interval.low, interval.high])
    assert estimate.error == pytest.approx(x.std(ddof=1) / math.sqrt(12))
    assert estimate.freedom == 11
    assert estimate.p_value(0.1) == pytest.approx(scipys.pvalue)
    assert math.isnan(Estimate(0.3, 0.1, 0.5).p_value(0.1))


@pytest.mark.parametrize("centre", [-0.3, 0.0, 0.2])
def test_no_effect_is_tested_by_two_one_sided_tests(centre):
    x = np.random.default_rng(1).normal(centre, 0.3, size=20)
    tests = ttest_1samp(x, -0.4, alternative="greater"), ttest_1samp(x, 0.4, alternative="less")
    assert estimates.mean(x).p_of_no_effect(0.0, 0.4) == pytest.approx(min(2 * max(test.pvalue for test in tests), 1))
    assert estimates.mean(x + 2).p_of_no_effect(2.0, 0.4) == pytest.approx(estimates.mean(x).p_of_no_effect(0.0, 0.4))


def test_a_mean_of_equal_numbers_has_no_doubt():
    same = estimates.mean(np.full(4, 0.25))
    assert (same.low, same.high, same.error) == (0.25, 0.25, 0)
    assert [same.p_value(threshold) for threshold in (0.25, 0.2, 0.3)] == [1, 0, 0]
    assert [same.p_of_no_effect(0.0, smallest) for smallest in (0.2, 0.25, 0.3)] == [1, 1, 0]


def test_a_far_estimate_is_no_more_than_certainly_an_effect():
    assert estimates.mean(np.array([5.0, 6.0, 7.0])).p_of_no_effect(0.0, 0.1) == 1.0


def test_a_partial_rank_correlation_is_the_textbooks():
    rng = np.random.default_rng(2)
    given = rng.normal(size=30)
    x, y = given + rng.normal(size=30), rng.normal(size=30) - given
    xy, xz, yz = (spearmanr(*pair).statistic for pair in ((x, y), (x, given), (y, given)))
    expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert estimates.partial_spearman(x, y, given) == pytest.approx(expected)
    assert estimates.partial_spearman(y, x, given) == pytest.approx(expected)
    assert math.isnan(estimates.partial_spearman(x, given, np.exp(given)))


def test_a_mean_over_columns_is_undefined_if_one_of_them_is_constant():
    x, y = np.random.default_rng(3).normal(size=(2, 9, 3))
    each = [spearmanr(x[:, k], y[:, k]).statistic for k in range(3)]
    assert estimates.mean_spearman(x, y) == pytest.approx(np.mean(each))
    y[:, 1] = 4
    assert math.isnan(estimates.mean_spearman(x, y))


def test_the_bootstrap_draws_whole_groups_with_replacement():
    groups, values = np.array([0, 0, 0, 1]), np.array([1.0, 1.0, 1.0, 5.0])
    estimate = estimates.bootstrap(np.mean, values, groups=groups)
    assert (estimate.value, estimate.low, estimate.high) == (2, 1, 5)  # only one group, at either end
    assert math.isnan(estimates.bootstrap(np.mean, values, groups=np.zeros(4)).low)
    assert str(estimates.bootstrap(lambda x: math.nan, values, groups=groups)) == "nan"
    middle = estimates.bootstrap(np.mean, np.arange(100.0), groups=np.arange(100))
    half = 1.96 * np.arange(100).std() / 10
    assert [middle.low, middle.high] == pytest.approx([49.5 - half, 49.5 + half], abs=0.5)


def test_the_bootstrap_leaves_out_resamples_without_a_value():
    def share(x):
        return x.mean() if x.max() > 0 else math.nan

    estimate = estimates.bootstrap(share, np.array([0.0, 1.0]), groups=np.arange(2))
    assert (estimate.low, estimate.high) == (0.5, 1)


def test_times_drawn_are_those_of_a_draw_with_replacement():
    times = estimates.times_drawn(7, np.random.default_rng(0))
    assert times.shape == (2000, 7)
    assert (times.sum(1) == 7).all()
    assert times.mean(0) == pytest.approx(np.ones(7), abs=0.1)
    assert times.var() == pytest.approx(6 / 7, abs=0.05)


def test_fishers_z_is_finite_at_the_ends():
    assert estimates.fisher([-1, -0.5, 0.995, 1]) == pytest.approx([-2.9945, -0.5493, 2.9945, 2.9945], abs=1e-4)


def test_numbers_keep_nine_digits():
    assert estimates.nine_digits([1 / 3, -12345.678901234]).tolist() == [0.333333333, -12345.6789]
    assert Estimate(1 / 3, 0.1, 2 / 3) == Estimate(0.3333333331, 0.1, 0.6666666669)
    assert str(Estimate(1 / 3)) == "0.333"
    assert str(Estimate(-0.5, -0.75, 0.125)) == "-0.5 [-0.75, 0.125]"
