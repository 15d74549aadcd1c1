"""The book's figures: one style, one colour and marker for each thing throughout."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nclib.estimates import Estimate, nine_digits
from nclib.metrics.registry import METRICS

# Okabe and Ito's palette: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


MARKERS = ("o", "s", "^", "D", "v", "P", "X")


# What studies vary, in the order of their styles.
SETTINGS = (
    "epochs",
    "loss",
    "projection",
    "augmentation",
    "weight_decay",
    "learning_rate",
    "batch_size",
    "blocks",
    "width",
)


@cache
def _tasks() -> tuple[str, ...]:
    """The titles of all tasks, in an order that no chapter changes."""
    from nclib.experiments.scales import SCALES

    zoos = [zoo for scale in SCALES.values() for zoo in (*scale.zoos, *scale.scene_zoos, *scale.text_zoos)]
    of_scales = [(*scale.tasks, *(task.title for task in scale.model_tasks)) for scale in SCALES.values()]
    return tuple(dict.fromkeys(chain(*of_scales, *([task.title for task in zoo.tasks] for zoo in zoos))))


def task_style(task: str) -> dict[str, str]:
    """The colour and marker of a task, the same in every figure; no two that a scale names have both in common."""
    i = _tasks().index(task) if task in _tasks() else crc32(task.encode())
    return {"color": COLOURS[i % 6], "marker": MARKERS[i % 7]}


def numbered_style(i: int) -> dict[str, str]:
    """The colour and marker of the i-th of many things, none like another up to the 42nd."""
    return {"color": COLOURS[i % 7], "marker": MARKERS[(i + i // 7) % 7]}


def setting_style(setting: str) -> dict[str, str]:
    """The colour and marker of a setting that studies vary, the same in every figure; those of "base" are its own."""
    return {"color": "black", "marker": "*"} if setting == "base" else numbered_style(SETTINGS.index(setting))


STYLE: dict[str, Any] = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlesize": "medium",
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "font.size": 8.5,
    "lines.markersize": 5,
}


def use_style() -> None:
    """Set the book's style for all figures and tables that follow."""
    import matplotlib.pyplot as plt

    plt.style.use(STYLE)
    # Tables are shown whole, and those of claims hold sentences.
    pd.set_option("display.max_colwidth", None, "display.max_rows", None, "display.precision", 4)


def contact_sheet(images: Any, titles: Sequence[str], *, columns: int = 16) -> Any:
    """Rows of images, uint8 (rows, columns, H, W), each row with its title; returns the figure."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(titles), 1, figsize=(7, 0.55 * len(titles)))
    for axis, row, title in zip(np.atleast_1d(axes), images, titles, strict=True):
        axis.imshow(np.concatenate(list(row[:columns]), axis=1), cmap="gray", vmin=0, vmax=255)
        axis.set_ylabel(title, rotation=0, ha="right", va="center")
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    return figure


def trajectories(
    axis: Any,
    epochs: ArrayLike,
    runs: Sequence[ArrayLike],
    *,
    colour: str,
    label: str | None = None,
    average: Callable[..., np.ndarray] = np.mean,
) -> None:
    """The average of several runs (runs, epochs) as a line, with a band from the lowest to the highest."""
    values = np.array(list(runs))
    axis.plot(epochs, nine_digits(average(values, axis=0)), color=colour, label=label)
    axis.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)


def estimates(axis: Any, x: ArrayLike, values: Sequence[Estimate], **style: Any) -> None:
    """Estimates with their intervals along x, joined by a line."""
    heights = np.array([value.value for value in values])
    ends = np.array([[value.value - value.low, value.high - value.value] for value in values]).T
    axis.errorbar(x, heights, yerr=np.nan_to_num(ends), linewidth=1, capsize=2, **style)


def log_ticks(axis: Any) -> None:
    """Plain numbers on a logarithmic axis, close enough together that there are always a few."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high > 6 * low else (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
    narrow = high < 2 * low  # where a logarithm is all but straight
    axis.set_major_locator(MaxNLocator(4) if narrow else LogLocator(subs=steps, numticks=6))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def panel_scatter(axis: Any, rows: pd.DataFrame, setting: str, x: str, y: str) -> None:
    """Points (x, y), one a network, in a colour and marker for each value of the setting.

    The means of numeric settings are joined in their order; names have none.
    """
    values = list(dict.fromkeys(rows[setting]))
    for i, value in enumerate(values):
        points = rows[rows[setting] == value]
        axis.scatter(points[x], points[y], color=COLOURS[i], marker=MARKERS[i], alpha=0.8, label=f"{value}", zorder=3)
    if isinstance(values[0], str):
        return
    means = rows.groupby(setting, sort=False)[[x, y]].mean().map(nine_digits)
    axis.plot(means[x], means[y], color="0.6", linewidth=0.8, zorder=2)


def interval_group(axis: Any, row: float, estimates: Mapping[str, Estimate], *, labelled: bool) -> None:
    """Estimates of tasks with their intervals, side by side at one row; the last, in black, sums up the others."""
    for i, (name, estimate) in enumerate(estimates.items()):
        style = {"color": "black", "marker": "*"} if i == len(estimates) - 1 else task_style(name)
        y = row + (i - len(estimates) / 2) / (len(estimates) + 3)
        axis.plot([estimate.low, estimate.high], [y, y], color=style["color"], linewidth=1)
        label = {"transfer": "mean over tasks"}.get(name, name) if labelled else None
        axis.plot(estimate.value, y, linestyle="", label=label, **style)


def task_panels(tables: Mapping[str, pd.DataFrame], x: str, y: str) -> Any:
    """Points (x, y), one a model and seed; a row of panels for each table, by scale, a panel for each task.

    The first word of a model's title, such as the setting that it differs in, gives the colour and marker; returns the
    figure.
    """
    figure, parts = _parts_of_panels(tables, height=2.9, rows=1)
    for part, (axes,), (scale, table) in zip(figure.subfigs, parts, tables.items(), strict=True):
        groups = list(dict.fromkeys(model.split(" ")[0] for model in table["model"]))
        for axis, (task, points) in zip(axes, table.groupby("task", sort=False), strict=True):
            for i, group in enumerate(groups):
                members = points[points["model"].str.split(" ").str[0] == group]
                style = setting_style(group) if group in (*SETTINGS, "base") else numbered_style(i)
                axis.scatter(members[x], members[y], label=group, s=14, alpha=0.8, **style)
            axis.set(xscale="log", title=task)
            log_ticks(axis.xaxis)
        axes[0].set_ylabel(f"{scale}: accuracy")
        axes[len(axes) // 2].set_xlabel(f"downstream {METRICS[x].name.upper()} (lower is more collapsed)")
        part.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="x-small")
    return figure


def depth_panels(tables: Mapping[str, pd.DataFrame], accuracy: str, metrics: Sequence[str]) -> Any:
    """An accuracy and, below it, metrics along the depth of models; two rows for each table, by scale, a column a task.

    Models of different depth meet on relative depth, 0 to 1; returns the figure.
    """
    figure, parts = _parts_of_panels(tables, height=3.3, rows=2)
    for (above, below), (scale, table) in zip(parts, tables.items(), strict=True):
        for upper, lower, (task, curves) in zip(above, below, table.groupby("task", sort=False), strict=True):
            _along_depth(upper, curves[accuracy], COLOURS[0], None)
            for i, name in enumerate(metrics, start=1):
                _along_depth(lower, curves[name], COLOURS[i], METRICS[name].name.upper())
            upper.set(title=task)
            lower.set(yscale="log", xlabel="relative depth", xticks=[0, 0.5, 1])
        above[0].set_ylabel(f"{scale}: accuracy")
        below[0].set_ylabel("lower is more collapsed")
        below[0].legend(fontsize="x-small")
    return figure


def _along_depth(axis: Any, curves: Sequence[Sequence[float]], colour: str, label: str | None) -> None:
    depth = np.linspace(0, 1, 25)
    resampled = [np.interp(depth, np.linspace(0, 1, len(values)), values) for values in curves]
    trajectories(axis, depth, resampled, colour=colour, label=label, average=np.median)


def parts(*heights: float) -> tuple[Any, Any]:
    """A figure of parts, one below the other, each of a height in inches: the figure, and the parts."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(9, sum(heights)))
    return figure, figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]


def _parts_of_panels(tables: Mapping[str, pd.DataFrame], *, height: float, rows: int) -> tuple[Any, list[Any]]:
    """A figure with a part for each table and, in each, rows of axes with a column for each task."""
    figure, below = parts(*[height] * len(tables))
    axes = [
        part.subplots(rows, table["task"].nunique(), sharex="col", sharey="row", squeeze=False)
        for part, table in zip(below, tables.values(), strict=True)
    ]
    return figure, axes


def score_panels(panels: Mapping[str, Mapping[str, Mapping[str, Estimate]]], labels: Mapping[str, str]) -> Any:
    """Estimates with their intervals, one row a score, by its label: for each panel by its title, of each scale.

    Returns the figure. Scores that a scale does not have are left out of it, those that none has altogether.
    """
    import matplotlib.pyplot as plt

    there = {name for scales in panels.values() for found in scales.values() for name in found}
    labels = {name: label for name, label in labels.items() if name in there}
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 1.6 + 0.23 * len(labels)), sharey=True, squeeze=False)
    rows = {name: row for row, name in enumerate(labels)}
    order = list(dict.fromkeys(scale for scales in panels.values() for scale in scales))
    for axis, (title, scales) in zip(axes[0], panels.items(), strict=True):
        for scale, found in scales.items():
            i = order.index(scale)
            heights = [rows[name] + 0.3 * (i - (len(order) - 1) / 2) for name in found]
            axis.hlines(heights, [e.low for e in found.values()], [e.high for e in found.values()], COLOURS[i], lw=1)
            values = [estimate.value for estimate in found.values()]
            axis.plot(values, heights, color=COLOURS[i], marker=MARKERS[i], linestyle="", label=scale)
        axis.axvline(0, color="0.4", linewidth=0.8)
        axis.set(title=title, xlim=(-1.05, 1.05), xlabel="weighted tau (1: same order)")
    axes[0, 0].set_yticks(range(len(labels)), list(labels.values()))
    axes[0, 0].invert_yaxis()
    shared_legend(figure, axes[0], ncols=len(order))
    return figure


def shared_legend(figure: Any, axes: Any, *, ncols: int) -> None:
    """One legend below all axes of a figure, or a part of one, with every label that one of them has."""
    handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=ncols)
