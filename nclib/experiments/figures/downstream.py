"""The figures of chapter 4."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from nclib.estimates import Estimate
from nclib.experiments import plots
from nclib.experiments.chapters import downstream
from nclib.experiments.figures.parts import EstimatesByScale, Tables, parts_of
from nclib.metrics.registry import METRICS


def task_panels(tables: Tables, x: str, y: str) -> Figure:
    """Points (x, y), one for each model (mean over its seeds): a part for each scale, a panel for each task.

    The `downstream.family` of a model, or the setting that it differs in, gives the colour and marker.
    """
    rows = [math.ceil(table["task"].nunique() / 5) for table in tables.values()]
    figure, parts = parts_of(tables, [0.7 + 1.9 * number for number in rows])
    for (part, scale, table), number in zip(parts, rows, strict=True):
        axes = part.subplots(number, min(5, table["task"].nunique()), squeeze=False)
        points = plots.averaged(table, ["task", "model"], [x, y])
        for axis, (task, of_task) in zip(axes.flat, points.groupby("task", sort=False), strict=False):
            _families(axis, of_task, x, y)
            axis.set_title(_in_two_lines(plots.short(str(task))), fontsize="small")
        for axis in axes.flat[points["task"].nunique() :]:
            axis.set_axis_off()
        for row in axes:
            row[0].set_ylabel(f"{scale}: accuracy")
        axes[-1, axes.shape[1] // 2].set_xlabel(f"downstream {METRICS[x].name.upper()} ({plots.READING})")
        plots.shared_legend(part, axes.flat, ncols=5, fontsize="small")
    return figure


def _families(axis: Any, points: pd.DataFrame, x: str, y: str) -> None:
    """Points (x, y) on a logarithmic axis, in the colour and marker of each model's family."""
    families = points["model"].map(downstream.family)
    for i, group in enumerate(families.unique()):
        members = points[families == group]
        known = group in (*plots.SETTINGS, "base")
        style = plots.setting_style(group) if known else plots.numbered_style(i)
        plots.points(axis, members, x, y, label=group.replace("_", " "), s=16, alpha=0.8, **style)
    plots.log_scale(axis, "x")


def _in_two_lines(title: str) -> str:
    return title.replace(" (", "\n(") if " (" in title else title.replace(", ", ",\n", 1)


_HELD = {  # what an order is compared at, and how each is drawn
    "plain": {"color": plots.COLOURS[0], "marker": "o"},
    "given": {"color": plots.COLOURS[1], "marker": "s", "markerfacecolor": "white"},
}


def orders_of_models(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """Rank correlations of orders of models with accuracy, as they are and at equal width: a panel for each table.

    Each row is a column of the tables, under its title, with the interval of `downstream.correlation`; faint points are
    tasks. A table without values of a column leaves its row empty.
    """
    figure, axes = plt.subplots(1, len(tables), figsize=(9, 1.2 + 0.36 * len(titles)), sharey=True, squeeze=False)
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        for place, name in enumerate(titles):
            if name not in table or table[name].isna().all():
                continue
            for held, given in (("plain", None), ("given", "num_features")):
                rows = downstream.ranked_by(table, name, given=given)
                of_tasks = [each.value for each in downstream.by_task(rows).values()] if held == "plain" else []
                _interval(axis, place, downstream.correlation(rows), held, of_tasks)
        axis.set(title=title, xlim=(-1.05, 1.05))
        axis.axvline(0, **plots.RULE)
    axes[0, 0].set_yticks(range(len(titles)), list(titles.values()))
    axes[0, 0].invert_yaxis()
    _explain_orders(figure, axes[0], "at equal width")
    return figure


def _interval(axis: Any, place: float, estimate: Estimate, held: str, of_tasks: Sequence[float] = ()) -> None:
    """Draw an estimate with its interval near its place, and faint points of tasks; NaN is not drawn."""
    if math.isnan(estimate.value):
        return
    height, style = place + (0.12 if held == "given" else -0.12), _HELD[held]
    axis.plot(of_tasks, [height] * len(of_tasks), linestyle="", alpha=0.3, markersize=3, **style)
    plots.level_intervals(axis, [height], [estimate], label=held, **style)


def _explain_orders(figure: Figure, axes: Sequence[Any], given: str) -> None:
    """One x label and one legend for panels of orders; `given` says in words what is held fixed."""
    figure.supxlabel("rank correlation with accuracy (right: the claim holds)", fontsize="medium")
    handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    words = [{"plain": "as they are", "given": given}[label] for label in handles]
    figure.legend(handles.values(), words, loc="outside upper center", ncols=2)


def depth_panels(tables: Tables, accuracy: str, metrics: Sequence[str]) -> Figure:
    """An accuracy and, below it, metrics along the depth of models: two rows for each scale, a column for each task.

    Depth is relative, from 0 to 1, so that models of any depth can be compared. Only the first five tasks are drawn.
    """
    figure, parts = parts_of(tables, [3.3] * len(tables))
    for part, scale, table in parts:
        tasks = list(table.groupby("task", sort=False))[:5]
        above, below = part.subplots(2, len(tasks), sharex="col", sharey="row", squeeze=False)
        for upper, lower, (task, curves) in zip(above, below, tasks, strict=True):
            plots.along_depth(upper, curves[accuracy], plots.COLOURS[0])
            for i, name in enumerate(metrics, start=1):
                plots.along_depth(lower, curves[name], plots.COLOURS[i], METRICS[name].name.upper())
            upper.set_title(_in_two_lines(plots.short(task)), fontsize="small")
            lower.set(yscale="log", xlabel="relative depth", xticks=[0, 0.5, 1])
        above[0].set_ylabel(f"{scale}: accuracy")
        below[0].set_ylabel(plots.READING)
        below[0].legend(fontsize="x-small")
    return figure


def orders_of_layers(tables: Tables) -> Figure:
    """How well NC1 ranks layers wider than the classes, as they are and at equal depth: a panel for each table.

    Each row is a task, with its interval over networks; the last is the mean over tasks, with the claim's interval.
    """
    most = max(table["task"].nunique() for table in tables.values())
    figure, axes = plt.subplots(1, len(tables), figsize=(8, 1.4 + 0.28 * most), squeeze=False)
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        whole = downstream.with_orders(table)
        plain, given = downstream.layers_ranked_by(whole, "wide_nc1"), -downstream.given_depth(table)
        for held, found in (("plain", plain), ("given", given)):
            parts = downstream.by_task(downstream.over_networks(table, found))
            rows = [parts.get(task, Estimate(math.nan)) for task in table["task"].unique()]
            for place, estimate in enumerate([*rows, downstream.correlation(downstream.over_tasks(table, found))]):
                _interval(axis, place, estimate, held)
        axis.set_yticks(range(len(rows) + 1), [*map(plots.short, table["task"].unique()), "mean over tasks"])
        axis.set(title=title, xlim=(-1.05, 1.05))
        axis.axvline(0, **plots.RULE)
        axis.invert_yaxis()
    _explain_orders(figure, axes[0], "at equal depth")
    return figure


def correlations_by_shots(found: EstimatesByScale, titles: Mapping[str, str]) -> Figure:
    """Rank correlations with several accuracies: a place for each accuracy, a colour for each order of models."""
    figure, axis = plt.subplots(figsize=(5.5, 3))
    for i, (title, by_shots) in enumerate(found.items()):
        for place, accuracy in enumerate(titles):
            estimate, x = by_shots[accuracy], place + 0.12 * (i - (len(found) - 1) / 2)
            style = plots.numbered_style(i)
            axis.plot([x, x], [estimate.low, estimate.high], color=style["color"], linewidth=1)
            axis.plot(x, estimate.value, linestyle="", label=title if place == 0 else None, **style)
    axis.axhline(0, **plots.RULE)
    axis.set(xticks=range(len(titles)), xticklabels=list(titles.values()))
    axis.set(ylim=(-1.05, 1.05), ylabel="rank correlation with accuracy\n(above: the claim holds)")
    axis.legend(loc="lower center", ncols=2)
    return figure
