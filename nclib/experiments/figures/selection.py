"""The figures of chapters 6 and 7."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from nclib.experiments import plots
from nclib.experiments.chapters import selection
from nclib.experiments.figures.parts import EstimatesByScale, Tables, parts_of


def collapse_before_and_after(tables: Tables) -> Figure:
    """NC1 after fine-tuning against NC1 before, one point a model: a part a scale, a panel a zoo, a style a task."""
    figure, parts = parts_of(tables, [3.4] * len(tables))
    for part, scale, table in parts:
        axes = part.subplots(1, table["zoo"].nunique(), squeeze=False)[0]
        for axis, (zoo, rows) in zip(axes, table.groupby("zoo", sort=False), strict=True):
            for task, points in rows.groupby("task", sort=False):
                style = {"s": 14, "alpha": 0.8, "label": task} | plots.task_style(task)
                axis.scatter(-points["variance_collapse"], points["nc1_tuned"], **style)
            axis.axline((1, 1), slope=1, **plots.RULE)
            axis.set(title=zoo, xlabel="NC1 before (lower: more collapsed)")
            plots.log_scale(axis, "x", "y")
        axes[0].set_ylabel(plots.read_below(f"{scale}: NC1 after"))
        plots.shared_legend(part, axes, ncols=5)
    return figure


def score_panels(panels: Mapping[str, EstimatesByScale], titles: Mapping[str, str]) -> Figure:
    """Weighted taus with their intervals, one row a score, by its title: for each panel by its title, of each scale.

    Scores that a scale does not have are left out of it, those that none has altogether.
    """
    there = {name for scales in panels.values() for found in scales.values() for name in found}
    rows = {name: row for row, name in enumerate(name for name in titles if name in there)}
    order = list(dict.fromkeys(scale for scales in panels.values() for scale in scales))
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 1.6 + 0.23 * len(rows)), sharey=True, squeeze=False)
    for axis, (title, scales) in zip(axes[0], panels.items(), strict=True):
        for scale, found in scales.items():
            i = order.index(scale)
            heights = [rows[name] + 0.3 * (i - (len(order) - 1) / 2) for name in found]
            plots.level_intervals(axis, heights, list(found.values()), label=scale, **plots.numbered_style(i))
        axis.axvline(0, **plots.RULE)
        axis.set(title=title, xlim=(-1.05, 1.05), xlabel="weighted tau (1: same order)")
    axes[0, 0].set_yticks(range(len(rows)), [titles[name] for name in rows])
    axes[0, 0].invert_yaxis()
    plots.shared_legend(figure, axes[0], ncols=len(order))
    return figure


def seconds_of_scores(by_size: Tables) -> Figure:
    """Seconds that each score takes over one size of its input, a panel each: the table of one varies only that."""
    figure, axes = plt.subplots(1, len(by_size), figsize=(9, 3.8), sharey=True)
    for axis, (size, rows) in zip(axes, by_size.items(), strict=True):
        drawn = [name for name in selection.LABELS if name in rows]
        for i, name in enumerate([*drawn, "ncti_spread"]):
            label = selection.LABELS.get(name, "NCTI")
            axis.plot(rows[size], rows[name], linewidth=1, label=label, **plots.numbered_style(i))
        axis.set(yscale="log", xlabel=f"number of {size}")
        plots.log_scale(axis, "x")
    axes[0].set_ylabel("seconds")
    plots.shared_legend(figure, axes, loc="outside right center")
    return figure


def quality_against_collapse(tables: Mapping[tuple[str, str], pd.DataFrame], measures: Mapping[str, str]) -> Figure:
    """The quality of fine-tuned models, by the measure of each kind of task, against NC1 before.

    A part a kind and scale, a panel a task, a style a zoo.
    """
    figure, parts = parts_of(tables, [2.9] * len(tables))
    for part, (kind, scale), table in parts:
        axes = part.subplots(1, table["task"].nunique(), squeeze=False)[0]
        for axis, (task, rows) in zip(axes, table.groupby("task", sort=False), strict=True):
            for i, (zoo, points) in enumerate(rows.groupby("zoo", sort=False)):
                style = {"s": 14, "alpha": 0.7, "label": zoo} | plots.numbered_style(i)
                axis.scatter(-points["variance_collapse"], points["accuracy"], **style)
            axis.set(title=task, xlabel="NC1 before (lower: more collapsed)")
            plots.log_scale(axis, "x")
        axes[0].set_ylabel(f"{scale}: {measures[kind]}")
        plots.shared_legend(part, axes, ncols=3)
    return figure
