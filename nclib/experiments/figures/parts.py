"""What several chapters draw alike: parts of a figure by scale, lines with their replicates, contrasts of claims."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nclib.estimates import Estimate, nine_digits
from nclib.experiments import plots
from nclib.experiments.claims import Claim, Verdict
from nclib.experiments.drawn import identify

Tables = Mapping[str, pd.DataFrame]  # of a study, mostly by the scale
EstimatesByScale = Mapping[str, Mapping[str, Estimate]]
Part = tuple[Any, Any, pd.DataFrame]  # of a figure: itself, and the key and the table that it is of


def parts_of(tables: Mapping[Any, pd.DataFrame], heights: Sequence[float]) -> tuple[Figure, list[Part]]:
    """A figure with a part for each table, one below the other, with these heights in inches; and its parts."""
    figure = plt.figure(figsize=(9, sum(heights)))
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    return figure, [(part, *table) for part, table in zip(parts, tables.items(), strict=True)]


def replicates_and_mean(axis: Any, rows: pd.DataFrame, replicate: list[str], setting: str, x: str, y: str) -> None:
    """A metric against a measure of collapse: a thin line for each replicate, and their mean, with the settings."""
    for _, own in rows.groupby(replicate):
        identify(axis.plot(own[x], nine_digits(own[y]), color=plots.COLOURS[0], linewidth=0.5, alpha=0.5)[0], own)
    points = means_of(rows, setting, x, y)
    axis.plot(points[x], points[y], color=plots.COLOURS[0], marker="o")
    for value, point in points.iterrows():
        axis.annotate(f"{value:g}", point, xytext=(3, 4), textcoords="offset points", fontsize=6.5)
    plots.log_scale(axis, "x")


def means_of(rows: pd.DataFrame, setting: str, x: str, y: str) -> pd.DataFrame:
    """The mean of y, and the geometric mean of x, over the rows of each value of a setting."""
    groups = rows.assign(**{x: np.log(rows[x])}).groupby(setting)[[x, y]].mean()
    return groups.assign(**{x: np.exp(groups[x])}).map(lambda value: float(nine_digits(value)))


def contrasts(judged: Mapping[str, Sequence[Verdict]], studies: Mapping[str, Tables]) -> Figure:
    """The estimates of claims with their intervals, by scale, and their replicates; grey is the smallest effect.

    All claims have one unit. `studies` are tables by scale, of the claims' studies and, where only some cells decide a
    claim, of the claim. If a claim has several contrasts, the least favourable is shown.
    """
    claims = [verdict.claim for verdict in next(iter(judged.values()), ())]
    figure, axis = plt.subplots(figsize=(7, 0.6 + 0.5 * len(claims)))
    heights = -np.arange(len(claims), dtype=float)
    for i, (scale, verdicts) in enumerate(judged.items()):
        style = plots.numbered_style(i)
        known = [(y - 0.25 * i, each) for y, each in zip(heights, verdicts, strict=True) if each.estimate]
        for y, verdict in known:
            table = {**studies[verdict.claim.study], **studies.get(verdict.claim.key, {})}[scale]
            values = nine_digits(_least_favourable(verdict.claim, table))
            axis.plot(values, np.full(len(values), y - 0.1), linestyle="", alpha=0.3, markersize=2.5, **style)
        estimates = [each.estimate for _, each in known if each.estimate]
        plots.level_intervals(axis, [y for y, _ in known], estimates, label=scale, **style)
    smallest = max((claim.smallest or 0 for claim in claims), default=0)  # one for all
    axis.axvspan(-smallest, smallest, color="0.9", zorder=0)
    axis.axvline(0, **plots.RULE)
    axis.set_yticks(heights, [claim.key for claim in claims])
    axis.set_xlabel("difference in accuracy (grey: the smallest effect)")
    if judged:
        axis.legend()
    return figure


def _least_favourable(claim: Claim, table: pd.DataFrame) -> pd.Series:
    """The replicates of the contrast whose mean favours the claim least."""
    contrasts = dict(list(claim.replicates(table).groupby("contrast")["value"]))
    return min(contrasts.values(), key=lambda values: claim.beyond(values.mean()))
