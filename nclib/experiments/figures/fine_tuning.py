"""The figures of chapter 5."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nclib.experiments import plots
from nclib.experiments.chapters import fine_tuning
from nclib.experiments.figures.parts import Tables, parts_of, replicates_and_mean
from nclib.experiments.inference import by_panel


def methods_against_collapse(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """Accuracy against NC1 of the training images after fine-tuning: a row for each scale, a column for each task.

    Each method has a style. Small points are networks, large ones their means.
    """
    figure, parts = _of_tasks(tables, 2.6)
    for part, axes, table in parts:
        for axis, (_, rows) in zip(axes, table.groupby("task", sort=False), strict=True):
            for method, title in titles.items():
                points, style = rows[rows["method"] == method], plots.method_style(method)
                plots.points(axis, points, "nc1", "accuracy", s=8, alpha=0.4, linewidth=0, **style)
                if len(points):
                    axis.scatter(
                        *points[["nc1", "accuracy"]].mean(), label=title, s=28, linewidth=0.4, zorder=3, **style
                    )
            plots.log_scale(axis, "x")
        axes[len(axes) // 2].set_xlabel(f"NC1 on the training images ({plots.READING})")
        plots.shared_legend(part, axes, ncols=5, fontsize="small")
    return figure


def _of_tasks(tables: Tables, height: float) -> tuple[Figure, list[tuple[Any, Any, pd.DataFrame]]]:
    """A figure with a part for each scale and in it a panel for each task; and the parts, their panels and tables."""
    figure, parts = parts_of(tables, [height] * len(tables))
    found = []
    for part, scale, table in parts:
        tasks = table["task"].unique()
        axes = part.subplots(1, len(tasks), squeeze=False)[0]
        for axis, task in zip(axes, tasks, strict=True):
            axis.set_title(plots.short(task))
        axes[0].set_ylabel(f"{scale}: test accuracy")
        found.append((part, axes, table))
    return figure, found


def accuracy_by_share(tables: Tables, ways: Mapping[str, str]) -> Figure:
    """Accuracy against what is trained, with its share: a panel for each task, a line for each number of images."""
    figure, parts = _of_tasks(tables, 2.8)
    for _, axes, table in parts:
        numbers = sorted(table["train_per_class"].unique())
        shades = plt.get_cmap("viridis_r")(np.linspace(0.1, 0.95, len(numbers)))
        shares = 100 * table.groupby("method")["body_share"].mean()
        rows = table[table["method"].isin([*ways])]
        rows = rows.assign(place=_order(rows, ways))
        for axis, (_, of_task) in zip(axes, rows.groupby("task", sort=False), strict=True):
            for number, shade in zip(numbers, shades, strict=True):
                part = of_task[of_task["train_per_class"] == number]
                plots.means(axis, part, "place", "accuracy", color=shade, marker="o", markersize=3, label=f"{number:g}")
            ticks = [f"{title}\n{shares[method]:.0f}%" for method, title in ways.items()]
            axis.set_xticks(range(len(ways)), ticks, fontsize="small")
        axes[-1].legend(title="images a class", fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def paired_differences(tables: Tables, contrasts: Mapping[str, tuple[str, str, str]]) -> Figure:
    """A metric of one method minus the same of another, against the number of images: a line for each task.

    Each scale has a row and each contrast a column; `contrasts` maps a title to the metric and the two methods.
    """
    figure, axes = plt.subplots(
        len(tables), len(contrasts), figsize=(9, 2.8 * len(tables)), squeeze=False, sharey="col", sharex="row"
    )
    for axis, title in zip(axes[0], contrasts, strict=True):
        axis.set_title(title)
    for row, (scale, table) in zip(axes, tables.items(), strict=True):
        numbers, tasks = sorted(table["train_per_class"].unique()), list(table["task"].unique())
        for axis, contrast in zip(row, contrasts.values(), strict=True):
            for i, task in enumerate(tasks):
                of_task = table[table["task"] == task].groupby("train_per_class")
                found = [by_panel(fine_tuning.contrast(part, *contrast))[task] for _, part in of_task]
                x = np.array(numbers) * 1.06 ** (i - (len(tasks) - 1) / 2)  # beside each other
                plots.estimates(axis, x, found, label=plots.short(task), **plots.task_style(task))
            axis.axhline(0, **plots.RULE)
            plots.log_scale(axis, "x")
            axis.set_xticks(numbers, [f"{number:g}" for number in numbers])
            axis.set_xlabel("training images a class")
        row[0].set_ylabel(f"{scale}: difference")
        row[0].legend(fontsize="small")
    return figure


def skip_by_layer(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """Accuracy with a skip connection minus accuracy without, against the tuned layer: a panel for each scale."""
    figure, axes = plt.subplots(1, len(tables), figsize=(8, 3), squeeze=False, sharey=True)
    for axis, (scale, table) in zip(axes[0], tables.items(), strict=True):
        table = table.assign(layer=table["layers"].str[0])
        layers = sorted(table["layer"].unique())
        for i, (method, title) in enumerate(titles.items()):
            parts = [fine_tuning.contrast(part, "accuracy", method, "layer") for _, part in table.groupby("layer")]
            found = [next(iter(by_panel(part).values())) for part in parts]
            plots.estimates(axis, np.arange(len(layers)) + 0.1 * i, found, label=title, **plots.method_style(method))
        axis.axhline(0, **plots.RULE)
        ticks = [
            f"{-layer} from the end\n{100 * part['body_share'].mean():.0f}%" for layer, part in table.groupby("layer")
        ]
        axis.set_xticks(range(len(layers)), ticks)
        axis.set(title=scale, xlabel="tuned block, and its share of the parameters")
    axes[0, 0].set_ylabel("difference in test accuracy")
    axes[0, 0].legend()
    return figure


def collapse_forced(tables: Tables) -> Figure:
    """Accuracy against NC1 as collapse is prevented or forced: a panel for each task, a thin line for each network."""
    figure, parts = _of_tasks(tables, 2.6)
    for _, axes, table in parts:
        for axis, (_, rows) in zip(axes, table.groupby("task", sort=False), strict=True):
            replicates_and_mean(axis, rows, ["model", "seed"], "collapse_tuned", "nc1", "accuracy")
        axes[len(axes) // 2].set_xlabel(f"NC1 on the training images ({plots.READING})")
    return figure


def _order(rows: pd.DataFrame, methods: Mapping[str, str]) -> pd.Series:
    """The place of each row's method among the methods."""
    return rows["method"].map({method: i for i, method in enumerate(methods)})
