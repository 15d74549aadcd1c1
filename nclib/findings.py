"""The claims of the book, each with its statistic. Statistics are ours, thresholds follow from the sentences."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from nclib import downstream, fine_tuned, geometric, selection
from nclib.claims import Claim, Estimate, Verdict, bootstrap, judge, mean, rank_correlation
from nclib.records import Records, as_table
from nclib.scales import SCALES, settings
from nclib.studies import RECIPE_FIELDS, STUDIES


def networks(table: pd.DataFrame) -> pd.DataFrame:
    """One row a network of the source-collapse study: its recipe, seed, source metrics and `transfer`.

    `transfer` is the probe's test accuracy, averaged over the downstream tasks.
    """
    network = pd.Series(map(str, table[[*RECIPE_FIELDS]].itertuples(index=False)), index=table.index)
    is_source = table["task"] == table["source"]
    transfer = table[~is_source].groupby(network)["accuracy"].mean()
    return table[is_source].assign(transfer=network[is_source].map(transfer))


def panel(nets: pd.DataFrame, setting: str) -> pd.DataFrame:
    """The networks that differ from the base recipe in no setting but this one (and the seed), sorted by it.

    The base has the most frequent value of every setting: each panel of the study varies one and keeps
    the others.
    """
    fixed = [name for name in RECIPE_FIELDS if name not in (setting, "seed")]
    base = nets[fixed].mode(dropna=False).iloc[0]
    same = (nets[fixed].eq(base) | nets[fixed].isna() & base.isna()).all(axis=1)
    return nets[same].sort_values([setting, "seed"])


def correlation(rows: pd.DataFrame, setting: str, accuracy: str = "transfer") -> Estimate:
    """Rank correlation of source NC1 and an accuracy over the rows of a panel, by groups of one value."""
    return rank_correlation(rows["nc1"].to_numpy(), rows[accuracy].to_numpy(), rows[setting].to_numpy())


def _correlation_over(setting: str) -> Callable[[pd.DataFrame], Estimate]:
    return lambda table: correlation(panel(networks(table), setting), setting)


def fully_trained(nets: pd.DataFrame) -> pd.DataFrame:
    """The networks that were trained as long as the base: what differs is how, not how far."""
    return nets[nets["epochs"] == nets["epochs"].mode()[0]]


def thirds(nc1: np.ndarray) -> list[np.ndarray]:
    """Indices of the networks in three equal parts by source NC1 (n,), the most collapsed first."""
    return np.array_split(np.argsort(nc1, kind="stable"), 3)


def _middle_third(table: pd.DataFrame) -> Estimate:
    """Mean transfer of the middle third of the networks by source NC1, less that of the better outer third."""

    def advantage(nc1: np.ndarray, transfer: np.ndarray) -> float:
        low, middle, high = (transfer[third].mean() for third in thirds(nc1))
        return float(middle - max(low, high))

    nets = fully_trained(networks(table))
    recipes = nets[[name for name in RECIPE_FIELDS if name != "seed"]].astype(str).agg("|".join, axis=1)
    return bootstrap(advantage, nets["nc1"].to_numpy(), nets["transfer"].to_numpy(), groups=recipes.to_numpy())


def zero_error_index(errors: list[float]) -> int | None:
    """Index of the first measured epoch from which on there is no training error; None if it ends with one."""
    if errors[-1] > 0:
        return None
    return max((i + 1 for i, error in enumerate(errors) if error > 0), default=0)


def _past_zero_error(metric: str) -> Callable[[pd.DataFrame], Estimate]:
    """The metric at the end of training over its value when the last training error was gone."""

    def ratio(errors: list[float], values: list[float]) -> float:
        start = zero_error_index(errors)
        return math.nan if start is None else values[-1] / values[start]

    return lambda table: mean(
        np.array([ratio(*pair) for pair in zip(table["train_error"], table[metric], strict=True)])
    )


def _final_disagreement(table: pd.DataFrame) -> Estimate:
    return mean(np.array([1 - values[-1] for values in table["nc4"]]))


_papyan = partial(Claim, paper="papyan2020", study="collapse_in_training", side="below")
_li_2023 = partial(Claim, paper="li2022", study="source_collapse", side="above", threshold=0.0)
_OVER = "rank correlation of source NC1 and downstream accuracy over {}"

CLAIMS = (
    _papyan(
        key="P1",
        sentence="Past zero training error the features of a class go on contracting to their mean.",
        statistic="NC1 at the end over NC1 when the last training error is gone",
        threshold=1.0,
        estimate=_past_zero_error("nc1"),
    ),
    _papyan(
        key="P2",
        sentence="Past zero training error the class means go on towards a simplex.",
        statistic="NC2 at the end over NC2 when the last training error is gone",
        threshold=1.0,
        estimate=_past_zero_error("nc2"),
    ),
    _papyan(
        key="P3",
        sentence="Past zero training error classifier and class means go on aligning.",
        statistic="NC3 at the end over NC3 when the last training error is gone",
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
        sentence="Preventing collapse helps to a certain extent. (Our reading: the best lies between the extremes.)",
        statistic="of the fully trained: accuracy of the middle third by source NC1, less that of the better outer one",
        estimate=_middle_third,
    ),
    Claim(
        key="A3",
        paper="li2024",
        sentence="The relation is more nuanced than one direction. (Our case: barely trained networks.)",
        study="source_collapse",
        statistic=_OVER.format("lengths of training"),
        side="below",
        threshold=0.0,
        estimate=_correlation_over("epochs"),
    ),
    *downstream.CLAIMS,
    *fine_tuned.CLAIMS,
    *geometric.CLAIMS,
    *selection.CLAIMS,
)


def declared(records: Records, study: str, scale: str) -> pd.DataFrame | None:
    """The table of a study's cells at a scale, at the seeds that the scale declares; None if any is missing."""
    cells = STUDIES[study](settings(scale), settings(scale).seeds)
    found = records.select(study, scale, cells)
    return as_table(found) if cells and len(found) == len(cells) else None


def verdicts(records: Records, scale: str, study: str | None = None) -> list[Verdict]:
    """Every claim, or those of one study, held against the records of a scale."""
    claims = [claim for claim in CLAIMS if study in (None, claim.study)]
    tables = {name: declared(records, name, scale) for name in {claim.study for claim in claims}}
    return [judge(claim, tables[claim.study]) for claim in claims]


def verdicts_by_scale(records: Records, study: str | None = None) -> dict[str, list[Verdict]]:
    """`verdicts` of the scales at which any claim was judged, by scale."""
    found = {scale: verdicts(records, scale, study) for scale in SCALES}
    return {scale: judged for scale, judged in found.items() if any(verdict.estimate for verdict in judged)}


def score_card(records: Records, *, study: str | None = None) -> pd.DataFrame:
    """One row a claim (of one study, or all), one column a scale that was run: verdict, statistic and 95% interval.

    Indexed by the keys of the claims.
    """
    by_scale = verdicts_by_scale(records, study)
    rows = []
    for claim, *judged in zip((c for c in CLAIMS if study in (None, c.study)), *by_scale.values(), strict=True):
        row = {"claim": claim.key, "sentence": claim.sentence, "statistic": claim.statistic, "needed": claim.needed}
        rows.append(row | dict(zip(by_scale, map(str, judged), strict=True)))
    return pd.DataFrame(rows).set_index("claim").rename_axis(None)
