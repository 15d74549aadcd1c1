"""Claims: one sentence of a paper, a statistic of the records, and the side of a threshold it must fall on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

_RESAMPLES = 2000  # of the bootstrap


def nine_digits(values: ArrayLike) -> np.ndarray:
    """Numbers to nine digits, of what is shown or drawn: the last digits of a float64 depend on the processor.

    Examples
    --------
    >>> print(nine_digits([1 / 3, 2e-10 / 3]))
    [3.33333333e-01 6.66666667e-11]
    """
    return np.vectorize(lambda value: float(f"{value:.9g}"), otypes=[float])(values)


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95% interval; NaN where it is undefined, or there is too little to give an interval.

    Examples
    --------
    >>> print(Estimate(0.5, 0.25, 0.75), Estimate(0.5))
    0.5 [0.25, 0.75] 0.5
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if math.isfinite(value):  # a NaN that is copied would not equal itself
                object.__setattr__(self, name, float(nine_digits(value)))

    def __str__(self) -> str:
        interval = "" if math.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.value:.3g}{interval}"


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper and how it is tested.

    The statistic is this book's choice; the threshold follows from the sentence, and stays where it is
    when results come in.

    Examples
    --------
    >>> claim = Claim("k", "paper", "It helps.", "study", "gain", "above", 0, lambda table: Estimate(table.gain.mean()))
    >>> claim.needed
    '> 0'
    """

    key: str
    paper: str  # its key in references.bib
    sentence: str
    study: str
    statistic: str  # in words, with its unit
    side: Literal["above", "below"]
    threshold: float
    estimate: Callable[[pd.DataFrame], Estimate]

    @property
    def needed(self) -> str:
        """On which side of what the statistic must fall, such as ``> 0``."""
        return f"{'>' if self.side == 'above' else '<'} {self.threshold:g}"


@dataclass(frozen=True)
class Verdict:
    """What the records of one scale say of a claim; `estimate` is None where cells are missing.

    Examples
    --------
    >>> claim = Claim("k", "paper", "It helps.", "study", "gain", "above", 0, lambda table: Estimate(table.gain.mean()))
    >>> print(Verdict(claim, Estimate(2.0, 1.0, 3.0)))
    holds: 2 [1, 3]
    >>> Verdict(claim, Estimate(2.0, -1.0, 5.0)).word
    'undecided'
    """

    claim: Claim
    estimate: Estimate | None

    @property
    def defined(self) -> bool:
        """Whether the statistic was measured, and is a number."""
        return self.estimate is not None and not math.isnan(self.estimate.value)

    @property
    def word(self) -> str:
        """One of holds, fails, undecided, undefined, not run yet.

        A claim holds, or fails, if its whole interval does; it is undecided if the interval reaches over
        the threshold. Without an interval the value decides.
        """
        if self.estimate is None:
            return "not run yet"
        if not self.defined:
            return "undefined"
        ends = {self._beyond(end) for end in (self.estimate.low, self.estimate.high) if not math.isnan(end)}
        if len(ends) == 2:
            return "undecided"
        return "holds" if self._beyond(self.estimate.value) else "fails"

    def _beyond(self, value: float) -> bool:
        return value > self.claim.threshold if self.claim.side == "above" else value < self.claim.threshold

    def __str__(self) -> str:
        return f"{self.word}: {self.estimate}" if self.defined else self.word


def judge(claim: Claim, table: pd.DataFrame | None) -> Verdict:
    """Hold a claim against the whole table of its study; None is a study that is not (wholly) run.

    Examples
    --------
    >>> claim = Claim("k", "paper", "It helps.", "study", "gain", "above", 0, lambda table: Estimate(table.gain.mean()))
    >>> print(judge(claim, pd.DataFrame({"gain": [-2.0]})))
    fails: -2
    >>> print(judge(claim, None))
    not run yet
    """
    return Verdict(claim, None if table is None else claim.estimate(table))


def mean(x: np.ndarray, strata: np.ndarray | None = None) -> Estimate:
    """The mean of x (n,) with Student's t interval; a single value has none.

    With strata (n,) it is the mean of their means, and its error comes from within them (Welch and Satterthwaite's
    degrees of freedom): the strata are taken as they are.
    """
    from scipy.stats import t

    strata = np.zeros(len(x)) if strata is None else np.asarray(strata)
    parts = [np.asarray(x, dtype=float)[strata == stratum] for stratum in pd.unique(strata)]
    value, sizes = float(np.mean([part.mean() for part in parts])), np.array([len(part) for part in parts])
    if (sizes < 2).any():
        return Estimate(value)
    errors = np.array([part.var(ddof=1) for part in parts]) / sizes
    freedom = errors.sum() ** 2 / (errors**2 / (sizes - 1)).sum() if errors.any() else 1.0
    half = float(t.ppf(0.975, freedom) * np.sqrt(errors.sum()) / len(parts))
    return Estimate(value, value - half, value + half)


def rank_correlation(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    blocks: np.ndarray | None = None,
) -> Estimate:
    """Spearman's rank correlation of x (n,) and y (n,) with its interval by the bootstrap over the groups (n,).

    With `strata` and `blocks` (n,) it is that within each block of each stratum, averaged over the blocks and then the
    strata. Groups are resampled within a stratum, in all its blocks alike: so blocks may be the seeds that every recipe
    was tried with, and what they shift is no evidence. As `bootstrap` of `mean_spearman`, but all resamples at once: a
    group drawn twice has a weight of two.

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
    """How often each of so many groups is in each of the resamples, (resamples, number)."""
    drawn = rng.integers(number, size=(_RESAMPLES, number))
    return np.stack([np.bincount(draw, minlength=number) for draw in drawn])


def _weighted_spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's correlation for each row of weights (r, n), which count repetitions; NaN where a side is constant."""
    total = weights.sum(1, keepdims=True)
    x, y = (weights @ ((side < side[:, None]) + (side == side[:, None]) / 2).T - total / 2 for side in (x, y))
    scale = np.sqrt((weights * x * x).sum(1) * (weights * y * y).sum(1))
    return np.divide((weights * x * y).sum(1), scale, out=np.full(len(scale), math.nan), where=scale > 0)


def bootstrap(statistic: Callable[..., float], *samples: np.ndarray, groups: np.ndarray) -> Estimate:
    """A statistic of samples, each (n, ...), with a percentile interval from resampling whole groups.

    Samples of one group, such as the seeds of one recipe, are not independent: they come and go together.
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

    That is Pearson's correlation of the ranks; NaN where either side is constant.
    """
    from scipy.stats import rankdata

    x, y = (rankdata(side, axis=0) - (len(side) + 1) / 2 for side in (x, y))
    scale = np.sqrt((x * x).sum(0) * (y * y).sum(0))
    return float(np.mean((x * y).sum(0) / scale)) if np.all(scale > 0) else math.nan
