"""The figures of chapter 5."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nclib.experiments import plots
from nclib.experiments.chapters import complexity
from nclib.experiments.figures.parts import Tables, parts_of

_STAGES = {"matched": ("matched loss", "-"), "end": ("the end", "--")}  # of training, and how each is drawn


def dials(stages: Tables, titles: Mapping[str, str]) -> Figure:
    """Complexity, CDNV and training loss over each setting of training, a column each.

    A colour a panel, that is a source and kind of network; full at matched loss, dashed at the end.
    """
    figure, axes = plt.subplots(3, 3, figsize=(9, 7), sharex="col")
    panels = stages["end"]["panel"].unique().tolist()
    for row, metric in zip(axes, ("complexity", "cdnv", "loss"), strict=True):
        for axis, setting in zip(row, complexity.SWEPT, strict=True):
            swept = {stage: complexity.sweep(rows, setting) for stage, rows in stages.items()}
            _staged_lines(axis, swept, setting, metric, panels)
            axis.set_yscale("log")
            if metric != "loss":
                plots.log_ticks(axis.yaxis)
            if setting != "weight_decay":
                plots.log_scale(axis, "x")
        row[0].set_ylabel(plots.read_below(titles[metric]) if metric == "cdnv" else titles[metric])
    for axis, setting in zip(axes[-1], complexity.SWEPT, strict=True):
        axis.set_xlabel(titles[setting])
    plots.shared_legend(figure, axes.flat, ncols=2)
    return figure


def _staged_lines(axis: Any, stages: Tables, x: str, y: str, panels: Sequence[str]) -> None:
    """A line for every panel, full at matched loss and dashed at the end; of the loss only that."""
    for stage, (when, dash) in _STAGES.items():
        if (y, stage) == ("loss", "matched"):
            continue
        for panel, rows in stages[stage].groupby("panel", sort=False):
            style = plots.numbered_style(panels.index(panel))
            plots.means(axis, rows, x, y, linestyle=dash, label=f"{panel}, {when}", **style)


def against_complexity(tables: Tables, columns: Mapping[str, str], titles: Mapping[str, str]) -> Figure:
    """Metrics against source complexity, one point a network: a column a metric, a row a panel, a part a scale."""
    figure, parts = parts_of(tables, [1 + 1.6 * rows["panel"].nunique() for rows in tables.values()])
    for part, scale, rows in parts:
        axes = part.subplots(max(1, rows["panel"].nunique()), len(columns), squeeze=False)
        for row, (panel, of_panel) in zip(axes, rows.groupby("panel", sort=False), strict=False):  # of none, one empty
            for axis, metric in zip(row, columns, strict=True):
                _styled_by_setting(axis, of_panel, metric, titles)
            row[0].set_ylabel(panel.replace(", ", "\n").replace(" (", "\n("))
        for axis, (metric, title) in zip(axes[0], columns.items(), strict=True):
            axis.set_title(title if metric == "accuracy_5" else plots.read_below(title))
        part.suptitle(scale, fontweight="bold")
        axes[-1, 1].set_xlabel("geometric complexity, source")
        plots.shared_legend(part, axes[:, 0], ncols=3)
    return figure


def _styled_by_setting(axis: Any, rows: pd.DataFrame, metric: str, titles: Mapping[str, str]) -> None:
    """A metric against complexity, a style a setting that is varied; accuracy with its interval."""
    for setting in complexity.SWEPT:
        points = complexity.sweep(rows, setting)
        half = points["accuracy_5_half"] if metric == "accuracy_5" else None
        style = {"linestyle": "", "elinewidth": 0.8, "markersize": 4.5} | plots.setting_style(setting)
        axis.errorbar(points["complexity"], points[metric], half, label=titles[setting], **style)
    plots.log_scale(axis, "x")


def training_and_bound(table: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Complexity and CDNV along the training of each panel's base, and the CDNV of all networks against its bound."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3))
    base = complexity.base(table)
    for i, (panel, every) in enumerate(table.groupby("panel", sort=False)):
        rows, colour = base[base["panel"] == panel], plots.numbered_style(i)["color"]
        for axis, metric in zip(axes, ("complexity", "cdnv"), strict=False):
            plots.trajectories(axis, rows["measured_epochs"].iloc[0], rows[metric], colour=colour, label=panel)
        cdnv = np.concatenate(every["cdnv"].to_list())
        axes[2].scatter(complexity.bounds(every), cdnv, color=colour, s=3, alpha=0.4)
    axes[0].set(yscale="log", xlabel="epoch", ylabel=titles["complexity"])
    axes[1].set(yscale="log", xlabel="epoch", ylabel=plots.read_below(titles["cdnv"]))
    ends = axes[2].get_xlim()
    axes[2].plot(ends, ends, **plots.RULE)
    axes[2].set(xscale="log", yscale="log", xlabel="bound", ylabel=plots.read_below(titles["cdnv"]))
    axes[0].legend()
    return figure


def errors_of_estimates(table: pd.DataFrame, ways: Mapping[str, str]) -> Figure:
    """Relative errors of ways to estimate complexity over the amount that each looks at, a panel each."""
    figure, axes = plt.subplots(1, len(ways), figsize=(9, 2.8), sharey=True)
    for axis, (way, title) in zip(axes, ways.items(), strict=True):
        found = complexity.relative_errors(table, way)
        plots.estimates(axis, found["amount"], list(found["error"]), color=plots.COLOURS[0], marker="o")
        stated = np.sqrt(np.square(table[f"{way}_stated"].tolist()).mean(axis=0))
        axis.plot(found["amount"], stated, color=plots.COLOURS[1], label="stated")
        axis.set(yscale="log", xlabel=title)
        plots.log_scale(axis, "x")
    axes[0].set_ylabel("relative error")
    axes[0].legend()
    return figure


def penalised(stages: Tables, titles: Mapping[str, str], panels: Sequence[str]) -> Figure:
    """Metrics over the strength of a penalty on complexity; lines as of `dials`, whose order of panels is given."""
    figure, axes = plt.subplots(1, len(titles), figsize=(9, 3.2))
    weakest = sorted(stages["end"]["penalty"].unique())[1]
    for axis, (metric, title) in zip(axes, titles.items(), strict=True):
        _staged_lines(axis, stages, "penalty", metric, panels)
        axis.set_xscale("symlog", linthresh=weakest)
        axis.set(xlabel="strength of the penalty", title=plots.read_below(title) if metric == "cdnv" else title)
    axes[0].set_yscale("log")
    plots.shared_legend(figure, axes, ncols=2)
    return figure
