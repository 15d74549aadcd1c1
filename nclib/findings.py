"""The claims of the book, each with its statistic. Thresholds come from the sentences, not from the records."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial

import numpy as np
import pandas as pd

from nclib.claims import Claim, Estimate, Verdict, judge, mean, rank_correlation
from nclib.records import Records
from nclib.scales import SCALES
from nclib.training import Recipe

# How far a number computed again may be from its record, on another processor: below 1 the absolute
# difference, above 1 the ratio. Training amplifies the last digit, so these are not small.
TOLERANCE = {
    "accuracy": 0.05,
    "centroid_accuracy": 0.06,
    "nc1": 1.5,
    "nc1_ratio": 1.3,
    "cdnv": 1.3,
    "nc2": 1.1,
    "nc3": 1.1,
    "nc4": 0.02,
    "test_accuracy": 0.05,
}

# What tells one network from another.
SETTINGS = [field.name for field in fields(Recipe)]


def networks(table: pd.DataFrame) -> pd.DataFrame:
    """One row a network of the source-collapse study: its recipe, seed, source metrics and `transfer`.

    `transfer` is the probe's test accuracy, averaged over the downstream tasks.
    """
    network = pd.Series(map(str, table[SETTINGS].itertuples(index=False)), index=table.index)
    is_source = table["task"] == table["source"]
    transfer = table[~is_source].groupby(network)["accuracy"].mean()
    return table[is_source].assign(transfer=network[is_source].map(transfer))


def panel(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """The rows that differ from the base recipe in no setting but this one (and the seed), sorted by it.

    The base has the most frequent value of every setting: each panel varies one and keeps the others.
    """
    fixed = [name for name in SETTINGS if name not in (setting, "seed")]
    base = table[fixed].mode(dropna=False).iloc[0]
    same = (table[fixed].eq(base) | table[fixed].isna() & base.isna()).all(axis=1)
    return table[same].sort_values([setting, "seed"])


def _correlation_over(setting: str) -> Callable[[pd.DataFrame], Estimate]:
    def estimate(table: pd.DataFrame) -> Estimate:
        rows = panel(networks(table), setting)
        return rank_correlation(rows["nc1"].to_numpy(), rows["transfer"].to_numpy())

    return estimate


def thirds(nets: pd.DataFrame) -> list[pd.DataFrame]:
    """The networks in three equal parts by source NC1, the most collapsed first."""
    ordered = nets.sort_values("nc1")
    return [ordered.iloc[part] for part in np.array_split(np.arange(len(nets)), 3)]


def _middle_third(table: pd.DataFrame) -> Estimate:
    """Mean transfer of the middle third of the networks by source NC1, less that of the better outer third."""
    low, middle, high = (third["transfer"].to_numpy() for third in thirds(networks(table)))
    outer = max(low, high, key=np.mean)
    return _difference_of_means(middle, outer)


def _difference_of_means(a: np.ndarray, b: np.ndarray) -> Estimate:
    rng = np.random.default_rng(0)
    draws = [rng.choice(side, (2000, len(side))).mean(1) for side in (a, b)]
    low, high = np.percentile(draws[0] - draws[1], [2.5, 97.5])
    return Estimate(float(a.mean() - b.mean()), float(low), float(high))


def zero_error_index(errors: list[float]) -> int:
    """Index of the first measured epoch without a training error; the last index if there is none."""
    return next((i for i, error in enumerate(errors) if error == 0), len(errors) - 1)


def _past_zero_error(metric: str) -> Callable[[pd.DataFrame], Estimate]:
    """The metric at the end of training over its value at the first epoch without a training error."""

    def estimate(table: pd.DataFrame) -> Estimate:
        starts = [zero_error_index(errors) for errors in table["train_error"]]
        return mean(np.array([values[-1] / values[i] for values, i in zip(table[metric], starts, strict=True)]))

    return estimate


def _final_disagreement(table: pd.DataFrame) -> Estimate:
    return mean(np.array([1 - values[-1] for values in table["nc4"]]))


_papyan = partial(Claim, paper="papyan2020", study="collapse_in_training", side="below")
_li_2023 = partial(Claim, paper="li2022", study="source_collapse", side="above", threshold=0.0)
_OVER = "rank correlation of source NC1 and downstream accuracy over {}"

CLAIMS = (
    _papyan(
        key="P1",
        sentence="Past zero training error the features of a class go on contracting to their mean.",
        statistic="NC1 at the end over NC1 at the first epoch without a training error",
        threshold=1.0,
        estimate=_past_zero_error("nc1"),
    ),
    _papyan(
        key="P2",
        sentence="Past zero training error the class means go on towards a simplex.",
        statistic="NC2 at the end over NC2 at the first epoch without a training error",
        threshold=1.0,
        estimate=_past_zero_error("nc2"),
    ),
    _papyan(
        key="P3",
        sentence="Past zero training error classifier and class means go on aligning.",
        statistic="NC3 at the end over NC3 at the first epoch without a training error",
        threshold=1.0,
        estimate=_past_zero_error("nc3"),
    ),
    _papyan(
        key="P4",
        sentence="In the end the classifier decides for the nearest class mean.",
        statistic="share of the training images on which the two disagree, at the end",
        threshold=0.01,
        estimate=_final_disagreement,
    ),
    _li_2023(
        key="A1-loss",
        sentence="Losses that prevent collapse on the source transfer better.",
        statistic=_OVER.format("losses"),
        estimate=_correlation_over("loss"),
    ),
    _li_2023(
        key="A1-projection",
        sentence="Projection heads, which prevent collapse of the features on the source, transfer better.",
        statistic=_OVER.format("0 to 3 layers of projection head"),
        estimate=_correlation_over("projection"),
    ),
    _li_2023(
        key="A1-augmentation",
        sentence="Data augmentation, which prevents collapse on the source, transfers better.",
        statistic=_OVER.format("strengths of augmentation"),
        estimate=_correlation_over("augmentation"),
    ),
    _li_2023(
        key="A1-extent",
        sentence="Preventing collapse helps to a certain extent: the best transfer lies between the extremes.",
        statistic="downstream accuracy of the middle third by source NC1, less that of the better outer third",
        estimate=_middle_third,
    ),
    Claim(
        key="A3",
        paper="li2024",
        sentence="The relation is not one-way: a barely trained network is not collapsed, and useless downstream.",
        study="source_collapse",
        statistic=_OVER.format("lengths of training"),
        side="below",
        threshold=0.0,
        estimate=_correlation_over("epochs"),
    ),
)


def verdicts(records: Records, scale: str) -> list[Verdict]:
    """Every claim held against the records of a scale."""
    return [judge(claim, records.table(claim.study, scale)) for claim in CLAIMS]


def score_card(records: Records, *, study: str | None = None) -> pd.DataFrame:
    """One row a claim (of one study, or all), one column a scale: verdict, and the statistic with its 95% interval.

    Indexed by the keys of the claims.
    """
    by_scale = {scale: verdicts(records, scale) for scale in SCALES}
    rows = []
    for claim, *judged in zip(CLAIMS, *by_scale.values(), strict=True):
        if study in (None, claim.study):
            needed = f"{'>' if claim.side == 'above' else '<'} {claim.threshold:g}"
            row = {"claim": claim.key, "sentence": claim.sentence, "statistic": claim.statistic, "needed": needed}
            rows.append(row | dict(zip(by_scale, map(_cell, judged), strict=True)))
    return pd.DataFrame(rows).set_index("claim").rename_axis(None)


def _cell(verdict: Verdict) -> str:
    return f"{verdict}: {verdict.estimate}" if verdict.estimate else str(verdict)
