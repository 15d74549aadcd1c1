"""Estimates: rank correlations and means, and that their intervals cover the truth as often as they say."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr, t

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
