"""One inference for all claims: the mean over replicates, whether panels differ, how many replicates would do.

A claim's statistic is one number a replicate: a seed (a network that is trained anew), a draw of images, or a task. It
may be measured in several panels and consist of several contrasts. Rows are tables with columns `replicate`, `panel`,
`contrast` and `value`.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd

from nclib.estimates import Estimate, fisher, mean, student

POWER = 0.9  # that a study should have
SHRUNK = 2 / 3  # what is left of an effect that was seen before: such effects are overestimates
_SIMULATIONS = 2000


def rows_of(values: Sequence[float] | pd.Series, **columns: object) -> pd.DataFrame:
    """Rows of values; replicates are numbered, and panel and contrast are empty, unless they are given."""
    usual = {"replicate": range(len(values)), "panel": "", "contrast": ""}
    return pd.DataFrame(usual | columns | {"value": np.asarray(values, dtype=float)})


def seeds_or_panels(values: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table of seeds, panels and values: the replicates are the seeds, if all panels have several.

    Else they are the panels, each with the mean of its seeds: what is found is then not of other networks.
    """
    if values.groupby("panel")["seed"].nunique().min() > 1:
        return values.rename(columns={"seed": "replicate"}).assign(contrast="")
    means = values.groupby("panel", sort=False)["value"].mean()
    return rows_of(means, replicate=means.index)


def summary(rows: pd.DataFrame) -> Estimate:
    """The mean over panels of the mean over replicates, with Student's interval.

    Replicates that are in all panels (the seeds of networks that are tried on several tasks) are averaged over them
    first: they are one replicate each. Replicates that are in one panel each keep to it (Welch and Satterthwaite).
    """
    values = _by_panel(rows)
    if values.notna().all(axis=None):
        return mean(values.mean(axis=1).to_numpy())
    return mean(rows["value"].to_numpy(), rows["panel"].to_numpy())


def of_correlations(rows: pd.DataFrame) -> Estimate:
    """The `summary` of correlations, with the interval of their Fisher's z; NaN of none."""
    found = summary(rows.assign(value=fisher(rows["value"]))) if len(rows) else Estimate(math.nan)
    return Estimate(*np.tanh([found.value, found.low, found.high]).tolist())


def summaries(rows: pd.DataFrame) -> dict[str, Estimate]:
    """`summary` of every contrast."""
    return {str(contrast): summary(part) for contrast, part in rows.groupby("contrast", sort=False)}


def by_panel(rows: pd.DataFrame) -> dict[str, Estimate]:
    """The mean of each panel over its replicates."""
    return {str(panel): mean(part["value"].to_numpy()) for panel, part in rows.groupby("panel", sort=False)}


def panels_differ(rows: pd.DataFrame) -> float:
    """The p-value of no difference between the panels; NaN of one panel, or where a panel has one replicate.

    Friedman's test, or of two panels a paired t-test, if replicates are in all panels; else Alexander and Govern's,
    which allows for variances that differ.
    """
    from scipy.stats import alexandergovern, friedmanchisquare, ttest_rel

    values = _by_panel(rows)
    samples = [values[panel].dropna().to_numpy() for panel in values]
    if len(samples) < 2 or min(map(len, samples)) < 2:
        return math.nan
    if values.isna().any(axis=None):
        return float(alexandergovern(*samples).pvalue)
    return float((ttest_rel if len(samples) == 2 else friedmanchisquare)(*samples).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number; those that are NaN are no tests, and stay NaN."""
    from statsmodels.stats.multitest import multipletests

    p, adjusted = np.asarray(p_values, dtype=float), np.full(len(p_values), math.nan)
    if (tested := ~np.isnan(p)).any():
        adjusted[tested] = multipletests(p[tested], method="holm")[1]
    return adjusted.tolist()


def enough(estimate: Estimate, number: int, threshold: float) -> float:
    """How many replicates, of two thousand at most, would find two thirds of an effect; inf if they would not.

    With a power of 90%, in a two-sided t-test at 5%.
    """
    from statsmodels.stats.power import TTestPower

    deviation = estimate.error * math.sqrt(number)
    if not deviation > 0:
        return math.nan
    size, numbers = SHRUNK * abs(estimate.value - threshold) / deviation, np.arange(2, 2001)
    sufficient = numbers[TTestPower().power(size, numbers, 0.05) >= POWER]
    return float(sufficient[0]) if len(sufficient) else math.inf


def to_show_none(estimate: Estimate, number: int, threshold: float, smallest: float) -> float:
    """How many replicates, of two thousand at most, would show that there is no effect; inf if they would not.

    With a power of 90% the interval lies within the smallest effect of the threshold, if two thirds of the distance
    seen are real.
    """
    deviation, numbers = estimate.error * math.sqrt(number), np.arange(2, 2001)
    room = smallest - SHRUNK * abs(estimate.value - threshold)
    if not deviation > 0:
        return math.nan
    sufficient = numbers[(_quantile(numbers - 1) + NormalDist().inv_cdf(POWER)) * deviation / np.sqrt(numbers) <= room]
    return float(sufficient[0]) if len(sufficient) else math.inf


def simulated(
    rows: pd.DataFrame, number: int, threshold: float, *, effect: float = SHRUNK, simulations: int = _SIMULATIONS
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Ends of the intervals (simulations,) of each contrast, from so many replicates like those given.

    Normal, with their means and covariances over panels and contrasts, their distances from the threshold times the
    effect.
    """
    rng, parts = np.random.default_rng(0), dict[str, list[np.ndarray]]()
    values = rows.pivot(index="replicate", columns=["contrast", "panel"], values="value")
    blocks = [values] if values.notna().all(axis=None) else [values[[each]].dropna() for each in values]
    for block in blocks:
        centre = threshold + effect * (block.mean().to_numpy() - threshold)
        covariance = np.atleast_2d(np.cov(block.to_numpy(), rowvar=False))
        drawn = rng.multivariate_normal(centre, covariance, (simulations, number), method="eigh")
        contrasts = block.columns.get_level_values("contrast")
        for contrast in pd.unique(contrasts):
            parts.setdefault(contrast, []).append(drawn[..., contrasts == contrast].mean(-1))
    ends = {}
    for contrast, samples in parts.items():
        value, error, freedom = student(samples)
        half = error * _quantile(freedom)
        ends[contrast] = value - half, value + half
    return ends


def _quantile(freedom: np.ndarray) -> np.ndarray:
    from scipy.stats import t

    return t.ppf(0.975, freedom)


def _by_panel(rows: pd.DataFrame) -> pd.DataFrame:
    values = rows.pivot(index="replicate", columns="panel", values="value")
    held = values.notna().sum(axis=1)
    if not held.isin([1, values.shape[1]]).all():
        raise ValueError(
            f"{(held > 1).sum()} of {len(held)} replicates are in several panels, but not in all of {list(values)}; "
            "each must be in one, or in all"
        )
    return values
