"""The figures of chapters 6 and 7."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from nclib.estimates import mean, nine_digits
from nclib.experiments import plots
from nclib.experiments.chapters import selection
from nclib.experiments.claims import RANKS
from nclib.experiments.figures.parts import EstimatesByScale, Tables, parts_of


def collapse_before_and_after(tables: Tables) -> Figure:
    """NC1 after fine-tuning against NC1 before, a point for each model: a part for each scale, a panel for each zoo."""
    figure, parts = parts_of(tables, [3.4] * len(tables))
    for part, scale, table in parts:
        axes = part.subplots(1, table["zoo"].nunique(), squeeze=False)[0]
        for axis, (zoo, rows) in zip(axes, table.groupby("zoo", sort=False), strict=True):
            for task, points in rows.assign(nc1=-rows["variance_collapse"]).groupby("task", sort=False):
                style = {"s": 14, "alpha": 0.8, "label": plots.short(task)} | plots.task_style(task)
                plots.points(axis, points, "nc1", "nc1_tuned", **style)
            axis.axline((1, 1), slope=1, **plots.RULE)
            axis.set(title=zoo, xlabel="NC1 before (lower: more collapsed)")
            plots.log_scale(axis, "x", "y")
        axes[0].set_ylabel(plots.read_below(f"{scale}: NC1 after"))
        plots.shared_legend(part, axes, ncols=5)
    return figure


def score_panels(panels: Mapping[str, EstimatesByScale], titles: Mapping[str, str]) -> Figure:
    """Weighted taus with their intervals: a row for each score, a panel for each zoo or kind of task, a colour a scale.

    The best score on average is on top. A score is left out of the scales that do not have it.
    """
    found = pd.DataFrame({(title, scale): each for title, scales in panels.items() for scale, each in scales.items()})
    average = found.map(lambda estimate: estimate.value, na_action="ignore").mean(axis=1)
    rows = {str(name): row for row, name in enumerate(average.sort_values(ascending=False).index)}
    order = list(dict.fromkeys(scale for scales in panels.values() for scale in scales))
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 1.6 + 0.23 * len(rows)), sharey=True, squeeze=False)
    for axis, (title, scales) in zip(axes[0], panels.items(), strict=True):
        for scale, taus in scales.items():
            i = order.index(scale)
            heights = [rows[name] + 0.3 * (i - (len(order) - 1) / 2) for name in taus]
            plots.level_intervals(axis, heights, list(taus.values()), label=scale, **plots.numbered_style(i))
        axis.axvline(0, **plots.RULE)
        axis.set(title=title, xlim=(-1.05, 1.05), xlabel="weighted tau (1: same order)")
    axes[0, 0].set_yticks(range(len(rows)), [titles[name] for name in rows])
    for name, label in zip(rows, axes[0, 0].get_yticklabels(), strict=True):
        label.set_fontweight("bold" if name == "face" else "normal")
    axes[0, 0].invert_yaxis()
    plots.shared_legend(figure, axes[0], ncols=len(order))
    return figure


def ahead_of_rivals(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """FaCe's tau minus each rival's tau, with intervals, as `selection.ahead` finds them: a panel for each scale.

    Marks are filled where Holm's adjusted p-value is at most 5%. Grey is the smallest effect.
    """
    number = max(map(len, tables.values()))
    figure, axes = plt.subplots(1, len(tables), figsize=(9, 1.1 + 0.26 * number), sharey=True, squeeze=False)
    for axis, (scale, found) in zip(axes[0], tables.items(), strict=True):
        for clear, style in ((True, {}), (False, {"markerfacecolor": "white"})):
            there = found[(found["p"] <= 0.05) == clear]
            places = [found.index.get_loc(name) for name in there.index]
            marks = {"color": plots.COLOURS[0], "marker": "o"} | style
            plots.level_intervals(axis, places, list(there["difference"]), **marks)
        axis.axvspan(-RANKS, RANKS, color="0.9", zorder=0)
        axis.axvline(0, **plots.RULE)
        axis.set(title=scale, xlabel="tau of FaCe minus tau of the rival")
        axis.set_yticks(range(len(found)), [titles[name] for name in found.index])
    axes[0, 0].invert_yaxis()
    return figure


def mean_ranks(found: Mapping[str, tuple[pd.Series, float, float]], titles: Mapping[str, str]) -> Figure:
    """Mean ranks of scores, of `selection.mean_ranks`, a panel for each scale; the band holds those that equal FaCe."""
    number = max(len(ranks) for ranks, *_ in found.values())
    figure, axes = plt.subplots(1, len(found), figsize=(9, 1.1 + 0.26 * number), squeeze=False)
    for axis, (scale, (ranks, _, critical)) in zip(axes[0], found.items(), strict=True):
        colours = [plots.COLOURS[1 if name == "face" else 0] for name in ranks.index]
        axis.axvspan(ranks["face"] - critical, ranks["face"] + critical, color="0.9", zorder=0)
        axis.scatter(ranks, range(len(ranks)), c=colours, zorder=3)
        axis.set(title=scale, xlabel="mean rank (1: best)", xlim=(0.5, len(ranks) + 0.5))
        axis.set_yticks(range(len(ranks)), [titles[name] for name in ranks.index])
        axis.invert_yaxis()
    return figure


_EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)  # probabilities between two edges are one point


def calibration(table: pd.DataFrame) -> Figure:
    """How often models were best against the probability they were given, and the gain over equal chances.

    The table comes from `selection.with_likely_best`; intervals are over seeds. The gain is in the Brier score, against
    the number of models, with a line for each zoo.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    said = table[["seed", "likely", "best"]].explode(["likely", "best"]).astype(float)
    for _, part in said.groupby(pd.cut(said["likely"], _EDGES), observed=True):
        seen = mean(part.groupby("seed")["best"].mean().to_numpy())
        x = nine_digits(part["likely"].mean())
        left.vlines(x, seen.low, seen.high, plots.COLOURS[0], lw=1)
        left.plot(x, seen.value, color=plots.COLOURS[0], marker="o")
    left.axline((0, 0), slope=1, **plots.RULE)
    left.set(xlabel="probability of being best", ylabel="share that was best")
    for i, (zoo, part) in enumerate(table.groupby("zoo", sort=False)):
        gains = part.groupby("size")["skill"].mean()
        right.plot(gains.index, nine_digits(gains), label=zoo, **plots.numbered_style(i))
    right.axhline(0, **plots.RULE)
    right.set(
        xlabel="number of models to choose from", ylabel="gain in Brier score\n(above 0: better than equal chances)"
    )
    plots.shared_legend(figure, [right], ncols=3)
    return figure


_NAMED = ("variance_collapse", "leep", "logme", "sfda", "nleep")  # the scores whose lines have a colour


def seconds_of_scores(by_size: Tables) -> Figure:
    """Seconds that each score takes against the size of its input: a panel, and a table, for each size that varies.

    A few scores are named; the others are grey.
    """
    figure, axes = plt.subplots(1, len(by_size), figsize=(9, 3.4), sharey=True)
    for axis, (size, rows) in zip(axes, by_size.items(), strict=True):
        for name in rows.columns.intersection([*selection.LABELS, "ncti_spread"]).difference(_NAMED):
            axis.plot(rows[size], rows[name], linewidth=0.6, color="0.7", label="others")
        for i, name in enumerate(_NAMED):
            axis.plot(rows[size], rows[name], label=selection.LABELS[name], **plots.numbered_style(i))
        axis.set(yscale="log", xlabel=f"number of {size}")
        plots.log_scale(axis, "x")
    axes[0].set_ylabel("seconds")
    plots.shared_legend(figure, axes, ncols=6)
    return figure


def quality_against_collapse(tables: Mapping[tuple[str, str], pd.DataFrame], measures: Mapping[str, str]) -> Figure:
    """The quality of fine-tuned models against NC1 before; `measures` names the quality of each kind of task.

    There is a part for each kind and scale, a panel for each task, and a style for each zoo.
    """
    figure, parts = parts_of(tables, [2.9] * len(tables))
    for part, (kind, scale), table in parts:
        axes = part.subplots(1, table["task"].nunique(), squeeze=False)[0]
        styles = {zoo: plots.numbered_style(i) for i, zoo in enumerate(table["zoo"].unique())}
        for axis, (task, rows) in zip(axes, table.groupby("task", sort=False), strict=True):
            rows = rows.assign(nc1=-rows["variance_collapse"])
            for zoo, points in rows.groupby("zoo", sort=False):
                style = {"s": 14, "alpha": 0.7, "label": zoo} | styles[zoo]
                plots.points(axis, points, "nc1", "accuracy", **style)
            axis.set(title=plots.short(task), xlabel="NC1 before (lower: more collapsed)")
            plots.log_scale(axis, "x")
        axes[0].set_ylabel(f"{scale}: {measures[kind]}")
        plots.shared_legend(part, axes, ncols=3)
    return figure
