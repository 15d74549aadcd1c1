"""A number with its interval: means, rank correlations and their bootstrap."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

_RESAMPLES = 2000  # of the bootstrap


def nine_digits(values: ArrayLike) -> np.ndarray:
    """Numbers rounded to nine digits, to be shown or drawn: the last digits of a float64 depend on the processor.

    Examples
    --------
    >>> print(nine_digits([1 / 3, 2e-10 / 3]))
    [3.33333333e-01 6.66666667e-11]
    """
    return np.vectorize(lambda value: float(f"{value:.9g}"), otypes=[float])(values)


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95% interval; NaN if it is undefined, or if the data do not suffice for an interval.

    A Student's t interval has a standard error and degrees of freedom, and therefore a p-value.

    Attributes
    ----------
    value
        The statistic.
    low, high
        The ends of its 95% interval.
    error, freedom
        The standard error and the degrees of freedom of a Student's t interval; NaN for other intervals.

    Examples
    --------
    >>> print(Estimate(0.5, 0.25, 0.75), Estimate(0.5))
    0.5 [0.25, 0.75] 0.5
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    error: float = math.nan
    freedom: float = math.nan

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if math.isfinite(value):  # a NaN that is copied would not equal itself
                object.__setattr__(self, name, float(nine_digits(value)))

    def __str__(self) -> str:
        interval = "" if math.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.value:.3g}{interval}"

    def p_value(self, threshold: float) -> float:
        """The two-sided p-value of the hypothesis that the mean is the threshold; NaN without a standard error."""
        return 2 * self._tail(abs(self.value - threshold))

    def p_of_no_effect(self, threshold: float, smallest: float) -> float:
        """Twice the p-value of the hypothesis that the mean is at least `smallest` from the threshold.

        By two one-sided tests; at most 0.05 if the 95% interval lies within the smallest effect.
        """
        return min(2 * self._tail(smallest - abs(self.value - threshold)), 1.0)

    def _tail(self, distance: float) -> float:
        from scipy.stats import t

        if self.error == 0:
            return 0.5 if distance == 0 else float(distance < 0)
        return float(t.sf(distance / self.error, self.freedom))


def mean(x: np.ndarray, strata: np.ndarray | None = None) -> Estimate:
    """The mean of x (n,) with Student's t interval; a single value has no interval.

    With strata (n,) it is the mean of the strata's means. Its error comes from within the strata, which count as fixed
    (with Welch and Satterthwaite's degrees of freedom).
    """
    from scipy.stats import t

    strata = np.zeros(len(x)) if strata is None else np.asarray(strata)
    parts = [np.asarray(x, dtype=float)[strata == stratum] for stratum in pd.unique(strata)]
    if min(map(len, parts)) < 2:
        return Estimate(float(np.mean([part.mean() for part in parts])))
    value, error, freedom = map(float, student(parts))
    half = float(t.ppf(0.975, freedom)) * error
    return Estimate(value, value - half, value + half, error, freedom)


def student(strata: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of the strata's means, its standard error and degrees of freedom; strata are (..., n), n at least 2."""
    sizes = [part.shape[-1] for part in strata]
    errors = [part.var(-1, ddof=1) / size for part, size in zip(strata, sizes, strict=True)]
    total, squares = sum(errors), sum(e**2 / (size - 1) for e, size in zip(errors, sizes, strict=True))
    freedom = np.divide(total**2, squares, out=np.ones_like(squares), where=squares > 0)
    value = np.mean([part.mean(-1) for part in strata], axis=0)
    return value, np.sqrt(total) / len(strata), freedom


def rank_correlation(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    blocks: np.ndarray | None = None,
) -> Estimate:
    """Spearman's rank correlation of x (n,) and y (n,), in [-1, 1], with a 95% interval from the bootstrap.

    `groups` (n,) names the group of each pair, such as its recipe; each of 2,000 resamples draws whole groups, since
    pairs of a group are not independent. With `strata` and `blocks` (n,) the correlation is computed within each block
    of each stratum, then averaged over the blocks and over the strata. A resample draws the groups of a stratum, the
    same for all its blocks. For example, blocks are seeds, each tried with every recipe: then a shift that a seed
    causes does not change the correlation. The result is that of `bootstrap` with `mean_spearman`, but all resamples
    are computed at once: a group drawn twice has weight two.

    The value is NaN if x or y is constant in a block, and the interval is NaN if a stratum has a single group.

    Examples
    --------
    >>> x = np.arange(6)
    >>> print(rank_correlation(x, x**2, groups=x))  # the order is the same
    1 [1, 1]
    """
    x, y, groups = (np.asarray(side) for side in (x, y, groups))
    strata, blocks = (np.zeros(len(x)) if names is None else np.asarray(names) for names in (strata, blocks))
    rng, values, draws = np.random.default_rng(0), [], []
    for stratum in pd.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        codes, names = pd.factorize(groups[rows])
        times = times_drawn(len(names), rng)[:, codes]
        parts = [blocks[rows] == block for block in pd.unique(blocks[rows])]
        each = [_weighted_spearman(x[rows[part]], y[rows[part]], times[:, part]) for part in parts]
        values.append(np.mean([mean_spearman(x[rows[part]], y[rows[part]]) for part in parts]))
        draws.append(np.mean(each, axis=0) if len(names) > 1 else np.full(_RESAMPLES, math.nan))
    value, draws = float(np.mean(values)) if values else math.nan, np.mean(draws, axis=0)
    if math.isnan(value) or np.isnan(draws).all():
        return Estimate(value)
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def times_drawn(number: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `number` groups is drawn in each resample, (resamples, number)."""
    drawn = rng.integers(number, size=(_RESAMPLES, number))
    return np.stack([np.bincount(draw, minlength=number) for draw in drawn])


def _weighted_spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's correlation for each row of weights (r, n), counts of repetitions; NaN if a side is constant."""
    total = weights.sum(1, keepdims=True)
    x, y = (weights @ ((side < side[:, None]) + (side == side[:, None]) / 2).T - total / 2 for side in (x, y))
    scale = np.sqrt((weights * x * x).sum(1) * (weights * y * y).sum(1))
    return np.divide((weights * x * y).sum(1), scale, out=np.full(len(scale), math.nan), where=scale > 0)


def bootstrap(statistic: Callable[..., float], *samples: np.ndarray, groups: np.ndarray) -> Estimate:
    """A statistic of samples, each (n, ...), with a percentile interval from resampling whole groups.

    Samples of one group, such as the seeds of one recipe, are not independent, so they are drawn together.
    Resamples in which the statistic is undefined are left out.
    """
    samples = tuple(np.asarray(sample, dtype=float) for sample in samples)
    value = float(statistic(*samples))
    members = [np.flatnonzero(groups == group) for group in pd.unique(groups)]
    if len(members) < 2 or math.isnan(value):
        return Estimate(value)
    rng = np.random.default_rng(0)
    draws = [
        np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]) for _ in range(_RESAMPLES)
    ]
    low, high = np.nanpercentile([statistic(*(sample[draw] for sample in samples)) for draw in draws], [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def mean_spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of x and y (n,), or (n, columns) for the mean over the columns.

    That is Pearson's correlation of the ranks; NaN if either side is constant.
    """
    from scipy.stats import rankdata

    x, y = (rankdata(side, axis=0) - (len(side) + 1) / 2 for side in (x, y))
    scale = np.sqrt((x * x).sum(0) * (y * y).sum(0))
    return float(np.mean((x * y).sum(0) / scale)) if np.all(scale > 0) else math.nan


def fisher(correlations: ArrayLike) -> np.ndarray:
    """Fisher's z of correlations: their inverse hyperbolic tangent, which is closer to normal; 1 counts as 0.995.

    Examples
    --------
    >>> fisher([0.0, 0.5, 1.0]).round(2).tolist()
    [0.0, 0.55, 2.99]
    """
    return np.arctanh(np.clip(correlations, -0.995, 0.995))


def partial_spearman(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """Spearman's partial correlation of x and y (n,) given a third; NaN if the third explains a side completely.

    Examples
    --------
    >>> depth = np.arange(5)
    >>> round(partial_spearman(depth + [0, 2, 0, 2, 0], depth + [0, -2, 0, -2, 0], depth), 2)
    -0.94
    """
    from scipy.stats import rankdata

    ranks = np.stack([rankdata(side) - (len(side) + 1) / 2 for side in (x, y, given)])
    fixed = ranks[2]
    left = ranks[:2] - np.outer(ranks[:2] @ fixed / (fixed @ fixed), fixed)
    scale = np.sqrt((left**2).sum(1).prod())
    return float(left[0] @ left[1] / scale) if scale > 1e-9 else math.nan
