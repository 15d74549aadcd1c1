"""Claims: one sentence of a paper, a statistic of the records, and the word that its interval earns."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from nclib.estimates import Estimate, fisher
from nclib.experiments.inference import (
    by_panel,
    enough,
    holm,
    panels_differ,
    rows_of,
    simulated,
    summaries,
    to_show_none,
)

# What is too small to matter, in the units of a statistic.
POINT = 0.01  # of accuracy
FACTOR = math.log(1.25)  # of NC1 or complexity
RANKS = 0.1  # of a rank correlation or tau

Word = Literal["holds", "fails", "fails: no effect", "mixed", "undecided", "not tested", "undefined", "not run yet"]


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper and how it is tested.

    `replicates` turns the table of a study into rows as `nclib.experiments.inference` takes them: one number for each
    replicate in each panel. If there are several contrasts, all must be on the `side` of the `threshold`. `smallest` is
    the smallest effect that matters, in the unit of the statistic: an interval within this distance of the threshold
    shows no effect. None means that the threshold itself is a margin. A `kind` of "correlation" is judged by Fisher's
    z, and "exact" by the value, without an interval. `untested` returns why the records do not test the sentence, or
    an empty text.

    Examples
    --------
    >>> from nclib.experiments.inference import rows_of
    >>> claim = Claim("k", "paper", "It helps.", "study", "gain", "above", 0, lambda table: rows_of(table.gain))
    >>> claim.needed
    '> 0'
    >>> print(judge(claim, pd.DataFrame({"gain": [2.0, 2.5, 3.0]})))
    holds: 2.5 [1.26, 3.74]
    """

    key: str
    paper: str  # its key in references.bib
    sentence: str
    study: str
    statistic: str  # in words, with its unit
    side: Literal["above", "below"]
    threshold: float
    replicates: Callable[[pd.DataFrame], pd.DataFrame]
    smallest: float | None = None
    kind: Literal["mean", "correlation", "exact"] = "mean"
    untested: Callable[[pd.DataFrame], str] = lambda table: ""

    @property
    def needed(self) -> str:
        """The side of the threshold where the statistic must lie, such as ``> 0``."""
        return f"{'>' if self.side == 'above' else '<'} {self.threshold:g}"

    def beyond(self, value: Any) -> Any:
        """How far a value is beyond the threshold, on the claim's side; negative on the other side."""
        return (value - self.threshold) * (1 if self.side == "above" else -1)

    def within(self, low: float, high: float) -> bool:
        """Whether an interval lies within the smallest effect."""
        return self.smallest is not None and max(abs(end - self.threshold) for end in (low, high)) <= self.smallest


@dataclass(frozen=True)
class Verdict:
    """What the records of one scale say of a claim.

    Attributes
    ----------
    word
        *holds*: the interval is on the claim's side of the threshold. *fails*: it is on the other side. *fails: no
        effect*: it contains the threshold and lies within the smallest effect. *mixed*: panels differ beyond chance and
        lie on both sides. *undecided*: none of these. If there are several contrasts, all must hold, and one that fails
        is enough to fail. *not tested*: what the sentence assumes did not happen. *undefined*: a replicate is not a
        finite number. *not run yet*: a cell is missing.
    estimate
        The mean over the replicates, with its 95% interval. If there are several contrasts, it is the least favourable
        of those that earn the word. None if the word is *not tested* or *not run yet*.
    number
        The number of replicates.
    p
        The p-value of what the word says, in [0, 1]. For *mixed* it belongs to the hypothesis that the panels do not
        differ. NaN if the claim is exact or was not judged.
    panels
        The estimate of each panel, by name, if there are several. If there are several contrasts, these are the panels
        of the least favourable one.
    why
        For *not tested* the reason. For *undecided* a remark if another processor decides otherwise.
    enough
        The number of replicates that would decide the claim with a power of 90%, if two thirds of the effect seen are
        real: enough to find the effect or, if that takes fewer, to show that it lies within the smallest effect.
    survives
        Whether `p` is at most 0.05 after Holm's adjustment for all claims of the scale.
    confirmed
        Whether the records were made under a protocol that was frozen before; otherwise they are exploration.

    Examples
    --------
    >>> from nclib.experiments.inference import rows_of
    >>> claim = Claim("k", "paper", "It helps.", "study", "gain", "above", 0, lambda table: rows_of(table.gain))
    >>> print(Verdict(claim, "not tested", why="nothing was done"))
    not tested (nothing was done)
    """

    claim: Claim
    word: Word
    estimate: Estimate | None = None
    number: int = 0
    p: float = math.nan
    panels: Mapping[str, Estimate] = field(default_factory=dict)
    why: str = ""
    enough: float = math.nan
    survives: bool = False
    confirmed: bool = False

    @property
    def defined(self) -> bool:
        """Whether the statistic was measured, and is a number."""
        return self.estimate is not None and not math.isnan(self.estimate.value)

    @property
    def small(self) -> bool:
        """Whether it holds, or fails, by no more than the smallest effect."""
        decided = self.word in ("holds", "fails") and self.estimate is not None
        return decided and self.claim.within(self.estimate.low, self.estimate.high)  # type: ignore[union-attr]  # it is not None

    def __str__(self) -> str:
        notes = [self.why] if self.why else []
        if self.word == "undecided" and self.number < 2:
            notes.append("one replicate")
        elif self.word == "undecided" and not self.why and not math.isnan(self.enough):
            number = f"{self.enough:.0f}" if self.enough <= 2000 else "thousands of"
            notes.append(f"{number} replicates would do")
        notes += ["small"] if self.small else []
        said = f"{self.word} ({'; '.join(notes)})" if notes else self.word
        return f"{said}: {self.estimate}" if self.defined else said


def judge(claim: Claim, table: pd.DataFrame | None) -> Verdict:
    """Judge a claim by the whole table of its study, and return the `Verdict`.

    `table` is None if cells of the study are missing.

    Examples
    --------
    >>> from nclib.experiments.inference import rows_of
    >>> claim = Claim("k", "paper", "It helps.", "study", "gain", "above", 0, lambda table: rows_of(table.gain))
    >>> print(judge(claim, pd.DataFrame({"gain": [2.0, -2.5, 3.0, 1.0]})))
    undecided (179 replicates would do): 0.875 [-2.93, 4.68]
    >>> print(judge(claim, None))
    not run yet
    """
    if table is None:
        return Verdict(claim, "not run yet")
    if why := claim.untested(table):
        return Verdict(claim, "not tested", why=why)
    straight, rows = _straight(claim, _replicates(claim, table))
    number = rows["replicate"].nunique()
    if rows.empty or not np.isfinite(rows["value"]).all():
        return Verdict(claim, "undefined", Estimate(math.nan), number)
    found = summaries(rows)
    word, name = _deciding(straight, found)
    shown, part = found[name], rows[rows["contrast"].astype(str) == name]
    panels = by_panel(part) if part["panel"].nunique() > 1 else {}
    p = _p_value(straight, word, list(found.values()))
    if _mixed(straight, part, panels):
        word, p = "mixed", panels_differ(part)
    return Verdict(
        claim,
        word,
        _shown(claim, shown),
        number,
        p=p,
        panels={name: _shown(claim, each) for name, each in panels.items()},
        enough=_enough(straight, shown, number),
    )


def _replicates(claim: Claim, table: pd.DataFrame) -> pd.DataFrame:
    """The claim's rows; a NaN where there is no line through a metric that is infinite."""
    try:
        return claim.replicates(table)
    except np.linalg.LinAlgError:
        return rows_of([math.nan])


def _enough(claim: Claim, estimate: Estimate, number: int) -> float:
    """The fewest replicates that would decide, either way; NaN if it is not known."""
    found = [enough(estimate, number, claim.threshold)]
    found += [to_show_none(estimate, number, claim.threshold, claim.smallest)] if claim.smallest else []
    return float(np.fmin.reduce(found))


def _straight(claim: Claim, rows: pd.DataFrame) -> tuple[Claim, pd.DataFrame]:
    """The claim and its rows, with Fisher's z in place of correlations."""
    if claim.kind != "correlation":
        return claim, rows
    threshold, smallest = fisher([claim.threshold, claim.smallest or 0]).tolist()
    straight = replace(claim, threshold=threshold, smallest=smallest or None)
    return straight, rows.assign(value=fisher(rows["value"]))


def _shown(claim: Claim, estimate: Estimate) -> Estimate:
    """The estimate, of Fisher's z as that of the correlation."""
    if claim.kind != "correlation":
        return estimate
    return Estimate(*np.tanh([estimate.value, estimate.low, estimate.high]).tolist())


def with_survivors(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of one scale, marked where they survive Holm's adjustment for all of them."""
    adjusted = holm([verdict.p for verdict in verdicts])
    return [replace(verdict, survives=p <= 0.05) for verdict, p in zip(verdicts, adjusted, strict=True)]


def power(claim: Claim, table: pd.DataFrame, number: int) -> tuple[float, float]:
    """How often so many replicates a panel, like the table's, would decide the claim, and how often show no effect.

    The first is at two thirds of the effect in the table, on its side; the second at no effect. Both are simulated.
    """
    claim, rows = _straight(claim, claim.replicates(table))
    likely = [
        sorted(map(claim.beyond, ends), key=np.mean) for ends in simulated(rows, number, claim.threshold).values()
    ]
    holds = np.all([low > 0 for low, _ in likely], axis=0).mean()
    fails = np.any([high < 0 for _, high in likely], axis=0).mean()
    if not claim.smallest:
        return float(max(holds, fails)), math.nan
    none = simulated(rows, number, claim.threshold, effect=0).values()
    within = [np.maximum(*(abs(end - claim.threshold) for end in ends)) <= claim.smallest for ends in none]
    return float(max(holds, fails)), float(np.any(within, axis=0).mean())


_WORST_FIRST: tuple[Word, ...] = ("fails", "fails: no effect", "undecided", "holds")


def _near(claim: Claim, low: Any, high: Any) -> Any:
    """The end of an interval that must be beyond the threshold, too, for the claim to hold."""
    return low if claim.side == "above" else high


def _near_end(claim: Claim, estimate: Estimate) -> float:
    end = _near(claim, estimate.low, estimate.high)
    return estimate.value if math.isnan(end) else end


def _deciding(claim: Claim, found: Mapping[str, Estimate]) -> tuple[Word, str]:
    """The word of contrasts that must all hold, and the least favourable of those that earn it."""
    words = {name: _word_of_one(claim, each) for name, each in found.items()}
    word = min(words.values(), key=_WORST_FIRST.index)
    earning = [name for name in found if words[name] == word]
    return word, min(earning, key=lambda name: claim.beyond(_near_end(claim, found[name])))


def _word_of_one(claim: Claim, estimate: Estimate) -> Word:
    if claim.kind == "exact":
        return "holds" if claim.beyond(estimate.value) > 0 else "fails"
    ends = [claim.beyond(end) for end in (estimate.low, estimate.high)]
    if min(ends) > 0:
        return "holds"
    if max(ends) < 0:
        return "fails"
    return "fails: no effect" if claim.within(estimate.low, estimate.high) else "undecided"  # NaN of one replicate


def _p_value(claim: Claim, word: Word, estimates: Sequence[Estimate]) -> float:
    """The largest of the contrasts' if all must hold; else the least of those that earn the word."""
    if word in ("holds", "undecided"):
        return max(each.p_value(claim.threshold) for each in estimates)
    earning = [each for each in estimates if _word_of_one(claim, each) == word]
    if word == "fails":
        return min(each.p_value(claim.threshold) for each in earning)
    return min(each.p_of_no_effect(claim.threshold, claim.smallest or 0) for each in earning)


def _mixed(claim: Claim, rows: pd.DataFrame, panels: Mapping[str, Estimate]) -> bool:
    """Whether panels differ beyond chance, and of those that survive Holm's adjustment some are on either side."""
    if not panels or not panels_differ(rows) <= 0.05:
        return False
    adjusted = holm([each.p_value(claim.threshold) for each in panels.values()])
    sides = {claim.beyond(each.value) > 0 for each, p in zip(panels.values(), adjusted, strict=True) if p <= 0.05}
    return len(sides) == 2
