"""Claims: one sentence of a paper, a statistic of the records, and the side of a threshold it must fall on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from nclib.estimates import Estimate


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
