"""Claims: one sentence of a paper, a statistic of the records, and the side of a threshold it must fall on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95% interval; the two ends are equal to the value where nothing is uncertain."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper and how it is tested.

    The threshold follows from the sentence; it was set before the records were made and does not move.
    """

    key: str
    paper: str  # its key in references.bib
    sentence: str
    study: str
    statistic: str  # in words, with its unit
    side: Literal["above", "below"]
    threshold: float
    estimate: Callable[[pd.DataFrame], Estimate]


@dataclass(frozen=True)
class Verdict:
    """What the records of one scale say of a claim; `estimate` is None where there are none."""

    claim: Claim
    estimate: Estimate | None

    @property
    def word(self) -> str:
        """One of holds, fails, not run yet."""
        if self.estimate is None:
            return "not run yet"
        return "holds" if self._beyond(self.estimate.value) else "fails"

    @property
    def margin(self) -> str:
        """Clearly if the whole interval is on one side, narrowly if it reaches over the threshold."""
        if self.estimate is None:
            return ""
        ends = {self._beyond(self.estimate.low), self._beyond(self.estimate.high)}
        return "narrowly" if len(ends) == 2 else "clearly"

    def _beyond(self, value: float) -> bool:
        return value > self.claim.threshold if self.claim.side == "above" else value < self.claim.threshold

    def __str__(self) -> str:
        return f"{self.word} {self.margin}".strip()


def judge(claim: Claim, table: pd.DataFrame) -> Verdict:
    """Hold a claim against the table of its study's records; an empty table is a claim not run yet."""
    return Verdict(claim, claim.estimate(table) if len(table) else None)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Spearman's rank correlation of x (n,) and y (n,), with a percentile bootstrap interval over the pairs."""
    return _bootstrap(_spearman, x, y)


def mean(x: np.ndarray) -> Estimate:
    """The mean of x (n,), with a percentile bootstrap interval; of one value, that value."""
    return _bootstrap(lambda x, axis: x.mean(axis), x)


def _bootstrap(statistic: Callable, *samples: np.ndarray) -> Estimate:
    samples = tuple(np.asarray(sample, dtype=float) for sample in samples)
    value = float(statistic(*samples, axis=-1))
    if len(samples[0]) < 2:
        return Estimate(value, value, value)
    picks = np.random.default_rng(0).integers(len(samples[0]), size=(_RESAMPLES, len(samples[0])))
    resampled = statistic(*(sample[picks] for sample in samples), axis=-1)
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _spearman(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """Pearson's correlation of the ranks; NaN where either side is constant."""
    from scipy.stats import rankdata

    x, y = (rankdata(side, axis=axis) for side in (x, y))
    x, y = (side - side.mean(axis, keepdims=True) for side in (x, y))
    with np.errstate(invalid="ignore"):
        return (x * y).sum(axis) / np.sqrt((x**2).sum(axis) * (y**2).sum(axis))
