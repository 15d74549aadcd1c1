"""The figures of the chapters, one function each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nclib.estimates import Estimate, nine_digits
from nclib.experiments import plots
from nclib.experiments.chapters import complexity, downstream, fine_tuning, in_training, selection, source
from nclib.experiments.claims import Claim, Verdict
from nclib.experiments.inference import by_panel
from nclib.metrics.registry import METRICS

Tables = Mapping[str, pd.DataFrame]  # of a study, mostly by the scale
EstimatesByScale = Mapping[str, Mapping[str, Estimate]]
Part = tuple[Any, Any, pd.DataFrame]  # of a figure: itself, and the key and the table that it is of


def _parts(tables: Mapping[Any, pd.DataFrame], heights: Sequence[float]) -> tuple[Figure, list[Part]]:
    """A figure with a part for each table, one below the other, each of a height in inches; and the parts."""
    figure = plt.figure(figsize=(9, sum(heights)))
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    return figure, [(part, *table) for part, table in zip(parts, tables.items(), strict=True)]


# Chapter 1


def contact_sheet(images: Any, titles: Sequence[str], *, columns: int = 16) -> Figure:
    """Rows of images, uint8 (rows, columns, H, W), each row with its title."""
    figure, axes = plt.subplots(len(titles), 1, figsize=(7, 0.55 * len(titles)), squeeze=False)
    for axis, row, title in zip(axes[:, 0], images, titles, strict=True):
        axis.imshow(np.concatenate(list(row[:columns]), axis=1), cmap="gray", vmin=0, vmax=255)
        axis.set_ylabel(title, rotation=0, ha="right", va="center")
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    return figure


def trajectories_by_scale(
    tables: Tables,
    shown: Mapping[str, tuple[str, str]],
    at_random: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Six metrics along training, a panel each and a colour a scale: means over networks, and their range.

    Of each metric `shown` says the title, and which side is more collapsed. A dashed line is where the terminal
    phase of all networks has begun, if it has; a dotted one is the value `at_random` of a metric, by scale.
    """
    figure, axes = plt.subplots(2, 3, figsize=(9, 4.6), sharex=True)
    for colour, (scale, rows) in zip(plots.COLOURS, tables.items(), strict=False):
        begun = _begun(rows)
        for axis, metric in zip(axes.flat, shown, strict=True):
            plots.trajectories(axis, rows["epoch"].iloc[0], rows[metric], colour=colour, label=scale)
            if begun is not None:
                axis.axvline(begun, color=colour, linestyle="--", linewidth=0.8)
            if reference := (at_random or {}).get(metric, {}).get(scale):
                axis.axhline(float(nine_digits(reference)), color=colour, linestyle=":", linewidth=0.8)
    for axis, (metric, (title, better)) in zip(axes.flat, shown.items(), strict=True):
        axis.set(title=title, ylabel=f"{better} is more collapsed" if better else "")
        if metric == "nc1":
            plots.log_scale(axis, "y")
    for axis in axes[1]:
        axis.set_xlabel("epoch")
    if len(tables) > 1:
        plots.shared_legend(figure, axes.flat, ncols=3)
    return figure


def _begun(rows: pd.DataFrame) -> int | None:
    """The first epoch at which the terminal phase of all networks has begun; None if that of one has not."""
    starts = [in_training.phase_start(errors) for errors in rows["train_error"]]
    known = [start for start in starts if start is not None]
    return rows["epoch"].iloc[0][max(known)] if len(known) == len(starts) else None


def classes_in_a_plane(pictures: Sequence[Any], epochs: Sequence[int], names: Sequence[str]) -> Figure:
    """Samples of three classes about the corners of a triangle, (3, n, 2) for each of some epochs."""
    figure, axes = plt.subplots(1, len(epochs), figsize=(2 * len(epochs), 2.3), sharex=True, sharey=True, squeeze=False)
    angles = np.pi / 2 + 2 * np.pi / 3 * np.arange(4)  # the last is the first again
    for axis, epoch, picture in zip(axes[0], epochs, pictures, strict=True):
        axis.plot(np.cos(angles), np.sin(angles), color="0.6", linewidth=0.8)
        for i, (points, name) in enumerate(zip(picture, names, strict=True)):
            axis.scatter(*np.array(points).T, s=8, label=name, **plots.numbered_style(i))
        axis.set(title=f"epoch {epoch}", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal")
    axes[0, -1].legend(loc="lower right", handletextpad=0.1)
    return figure


# Chapter 2


def dial(tables: Tables) -> Figure:
    """What transfers, and accuracy on the source, where collapse alone is dialled: a column a source, a line a seed."""
    sources = [
        (scale, *each) for scale, table in tables.items() for each in source.by_source(table, "collapse").items()
    ]
    figure, axes = plt.subplots(2, len(sources), figsize=(9, 4.8), sharex="col", squeeze=False)
    for column, (scale, name, rows) in zip(axes.T, sources, strict=True):
        for axis, metric, where in zip(column, ("transfer", "source_accuracy"), ("downstream", "source"), strict=True):
            _replicates_and_mean(axis, rows, ["seed"], "collapse", "nc1_ratio", metric)
            axis.set_ylabel(f"{where} accuracy")
        column[0].set_title(f"{scale}: {name}")
        column[1].set_xlabel(f"source trace ratio ({plots.READING})")
    return figure


def _replicates_and_mean(axis: Any, rows: pd.DataFrame, replicate: list[str], setting: str, x: str, y: str) -> None:
    """A metric against one of collapse: a thin line a replicate, and their mean with the values of the setting."""
    for _, own in rows.groupby(replicate):
        axis.plot(own[x], nine_digits(own[y]), color=plots.COLOURS[0], linewidth=0.5, alpha=0.5)
    points = _means(rows, setting, x, y)
    axis.plot(points[x], points[y], color=plots.COLOURS[0], marker="o")
    for value, point in points.iterrows():
        axis.annotate(f"{value:g}", point, xytext=(3, 4), textcoords="offset points", fontsize=6.5)
    plots.log_scale(axis, "x")


def _means(rows: pd.DataFrame, setting: str, x: str, y: str) -> pd.DataFrame:
    """The mean of y, and the geometric mean of x, over the rows of each value of a setting."""
    groups = rows.assign(**{x: np.log(rows[x])}).groupby(setting)[[x, y]].mean()
    return groups.assign(**{x: np.exp(groups[x])}).map(lambda value: float(nine_digits(value)))


def heuristics(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """What transfers against source NC1, a panel for each setting that is varied, a row of panels a scale."""
    figure, parts = _parts(tables, [2.9] * len(tables))
    for part, scale, table in parts:
        axes = part.subplots(1, len(titles), sharey=True)
        for axis, (setting, title) in zip(axes, titles.items(), strict=True):
            own, *_ = source.by_source(table, setting).values()
            plots.panel_scatter(axis, own, setting, "nc1", "transfer")
            axis.set(title=title, xlabel="source NC1")
            plots.log_scale(axis, "x")
            axis.legend(fontsize="x-small")
        axes[0].set_ylabel(f"{scale}: downstream accuracy")
    return figure


def at_equal_collapse(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """The dial's curve by scale and, at their own trace ratios, the means of the values of each setting.

    They are of the scale's own source. What transfers worse than all of the dial is outside.
    """
    figure, axes = plt.subplots(1, len(tables), figsize=(4.4 * len(tables), 3.4), squeeze=False)
    for axis, (scale, table) in zip(axes[0], tables.items(), strict=True):
        own = table[table["source"] == table["source"].iloc[0]]
        curve = _means(source.panel(own, "collapse"), "collapse", "nc1_ratio", "transfer")
        axis.plot(curve["nc1_ratio"], curve["transfer"], color="black", label="collapse alone")
        for setting, title in titles.items():
            points = _means(source.panel(own, setting), setting, "nc1_ratio", "transfer")
            shown = points[points["transfer"] > curve["transfer"].min()]
            style = plots.setting_style(setting)
            axis.plot(shown["nc1_ratio"], shown["transfer"], linestyle="", alpha=0.8, label=title, **style)
        axis.set(title=scale, xlabel=f"source trace ratio ({plots.READING})")
        plots.log_scale(axis, "x")
    axes[0, 0].set_ylabel("downstream accuracy")
    plots.shared_legend(figure, axes[0], ncols=5)
    return figure


def contrasts(judged: Mapping[str, Sequence[Verdict]], studies: Mapping[str, Tables]) -> Figure:
    """The estimates of claims with their intervals, by scale, and their replicates; grey is the smallest effect.

    The claims are of one unit, and of the `studies`, whose tables are by scale. Of several contrasts the least
    favourable is shown.
    """
    claims = [verdict.claim for verdict in next(iter(judged.values()), ())]
    figure, axis = plt.subplots(figsize=(7, 0.6 + 0.5 * len(claims)))
    heights = -np.arange(len(claims), dtype=float)
    for i, (scale, verdicts) in enumerate(judged.items()):
        style = plots.numbered_style(i)
        known = [(y - 0.25 * i, each) for y, each in zip(heights, verdicts, strict=True) if each.estimate]
        for y, verdict in known:
            table = studies[verdict.claim.study][scale]
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
    """The replicates of a claim's contrast whose mean is least on its side."""
    contrasts = dict(list(claim.replicates(table).groupby("contrast")["value"]))
    return min(contrasts.values(), key=lambda values: claim.beyond(values.mean()))


# Chapter 3


def clouds(samples: Mapping[str, Any]) -> Figure:
    """Points of classes in the plane, (classes, n, 2), a panel each, with its title."""
    figure, axes = plt.subplots(1, len(samples), figsize=(7, 2.6), sharex=True, sharey=True, squeeze=False)
    for axis, (title, classes) in zip(axes[0], samples.items(), strict=True):
        for i, points in enumerate(np.asarray(classes)):
            style = plots.numbered_style(i)
            axis.scatter(*points.T, s=8, alpha=0.7, **style)
            axis.scatter(*points.mean(0), s=60, edgecolor="black", **style)
        axis.set(title=title, aspect="equal", xticks=[], yticks=[])
    return figure


def task_panels(tables: Tables, x: str, y: str) -> Figure:
    """Points (x, y), one a model, the mean over its seeds; five panels a row, a task each, and a part a scale.

    The `downstream.family` of a model, or the setting that it differs in, gives the colour and marker.
    """
    rows = [math.ceil(table["task"].nunique() / 5) for table in tables.values()]
    figure, parts = _parts(tables, [0.7 + 1.9 * number for number in rows])
    for (part, scale, table), number in zip(parts, rows, strict=True):
        axes = part.subplots(number, min(5, table["task"].nunique()), squeeze=False)
        points = table.groupby(["task", "model"], sort=False)[[x, y]].mean().reset_index()
        for axis, (task, of_task) in zip(axes.flat, points.groupby("task", sort=False), strict=False):
            _families(axis, of_task, x, y)
            axis.set_title(_in_two_lines(str(task)), fontsize="small")
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
        axis.scatter(members[x], members[y], label=group.replace("_", " "), s=16, alpha=0.8, **style)
    plots.log_scale(axis, "x")


def _in_two_lines(title: str) -> str:
    return title.replace(" (", "\n(") if " (" in title else title.replace(", ", ",\n", 1)


_HELD = {  # what an order is compared at, and how each is drawn
    "plain": {"color": plots.COLOURS[0], "marker": "o"},
    "given": {"color": plots.COLOURS[1], "marker": "s", "markerfacecolor": "white"},
}


def orders_of_models(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """How well orders of models are that of accuracy, as they are and given the width: a panel for each table.

    A row a column of the tables, by its title, with the intervals of `downstream.correlation`; a faint point a task.
    Tables that have no value of a column leave its row empty.
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
    """One estimate with its interval near its place, and faint points of tasks below it; nothing of NaN."""
    if math.isnan(estimate.value):
        return
    height, style = place + (0.12 if held == "given" else -0.12), _HELD[held]
    axis.plot(of_tasks, [height] * len(of_tasks), linestyle="", alpha=0.3, markersize=3, **style)
    plots.level_intervals(axis, [height], [estimate], label=held, **style)


def _explain_orders(figure: Figure, axes: Sequence[Any], given: str) -> None:
    """One label of x and one legend for panels of orders, in the words of what is held fixed."""
    figure.supxlabel("rank correlation with accuracy (right: the claim holds)", fontsize="medium")
    handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    words = [{"plain": "as they are", "given": given}[label] for label in handles]
    figure.legend(handles.values(), words, loc="outside upper center", ncols=2)


def depth_panels(tables: Tables, accuracy: str, metrics: Sequence[str]) -> Figure:
    """An accuracy and, below it, metrics along the depth of models; two rows for each table, by scale, a column a task.

    Models of different depth meet on relative depth, 0 to 1. There is a column for each of the first five tasks.
    """
    figure, parts = _parts(tables, [3.3] * len(tables))
    for part, scale, table in parts:
        tasks = list(table.groupby("task", sort=False))[:5]
        above, below = part.subplots(2, len(tasks), sharex="col", sharey="row", squeeze=False)
        for upper, lower, (task, curves) in zip(above, below, tasks, strict=True):
            plots.along_depth(upper, curves[accuracy], plots.COLOURS[0])
            for i, name in enumerate(metrics, start=1):
                plots.along_depth(lower, curves[name], plots.COLOURS[i], METRICS[name].name.upper())
            upper.set_title(_in_two_lines(task), fontsize="small")
            lower.set(yscale="log", xlabel="relative depth", xticks=[0, 0.5, 1])
        above[0].set_ylabel(f"{scale}: accuracy")
        below[0].set_ylabel(plots.READING)
        below[0].legend(fontsize="x-small")
    return figure


def orders_of_layers(tables: Tables) -> Figure:
    """How well NC1 orders the layers wider than the classes, as they are and given depth: a panel for each table.

    A row a task, with intervals over networks, and one for the mean over tasks, with that of the claim.
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
        axis.set_yticks(range(len(rows) + 1), [*table["task"].unique(), "mean over tasks"])
        axis.set(title=title, xlim=(-1.05, 1.05))
        axis.axvline(0, **plots.RULE)
        axis.invert_yaxis()
    _explain_orders(figure, axes[0], "at equal depth")
    return figure


def correlations_by_shots(found: EstimatesByScale, titles: Mapping[str, str]) -> Figure:
    """Rank correlations with accuracies, a place for each accuracy, a colour for each that is found, by its title."""
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


# Chapter 4


def methods_against_collapse(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """Accuracy against NC1 of the training images after fine-tuning: a row a scale, a column a task, a style a method.

    Small each network, large their mean.
    """
    figure, parts = _of_tasks(tables, 2.6)
    for part, axes, table in parts:
        for axis, (_, rows) in zip(axes, table.groupby("task", sort=False), strict=True):
            for method, title in titles.items():
                points, style = rows.loc[rows["method"] == method, ["nc1", "accuracy"]], plots.method_style(method)
                axis.scatter(*points.to_numpy().T, s=8, alpha=0.4, linewidth=0, **style)
                if len(points):
                    axis.scatter(*points.mean(), label=title, s=28, linewidth=0.4, zorder=3, **style)
            plots.log_scale(axis, "x")
        axes[len(axes) // 2].set_xlabel(f"NC1 on the training images ({plots.READING})")
        plots.shared_legend(part, axes, ncols=5, fontsize="small")
    return figure


def _of_tasks(tables: Tables, height: float) -> tuple[Figure, list[tuple[Any, Any, pd.DataFrame]]]:
    """A figure with a part for each scale, in it a panel for each task; each part, its panels and its table."""
    figure, parts = _parts(tables, [height] * len(tables))
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
    """Accuracy against what is trained, and its share; a line for each number of images, a panel a task."""
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
    """By how much a metric of a method is above that of another, over the number of images: a line a task.

    A row a scale, a column for each of the `contrasts`: by its title the metric and the two methods.
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
    """Accuracy with a skip connection minus that without, over the tuned layer: a line a kind, a panel a scale."""
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
    """Accuracy against NC1 as collapse is prevented and forced: a panel a task, a thin line a network."""
    figure, parts = _of_tasks(tables, 2.6)
    for _, axes, table in parts:
        for axis, (_, rows) in zip(axes, table.groupby("task", sort=False), strict=True):
            _replicates_and_mean(axis, rows, ["model", "seed"], "collapse", "nc1", "accuracy")
        axes[len(axes) // 2].set_xlabel(f"NC1 on the training images ({plots.READING})")
    return figure


def _order(rows: pd.DataFrame, methods: Mapping[str, str]) -> pd.Series:
    """The place of each row's method among the methods."""
    return rows["method"].map({method: i for i, method in enumerate(methods)})


# Chapter 5

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
    figure, parts = _parts(tables, [1 + 1.6 * rows["panel"].nunique() for rows in tables.values()])
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


# Chapters 6 and 7


def collapse_before_and_after(tables: Tables) -> Figure:
    """NC1 after fine-tuning against NC1 before, one point a model: a part a scale, a panel a zoo, a style a task."""
    figure, parts = _parts(tables, [3.4] * len(tables))
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
    figure, parts = _parts(tables, [2.9] * len(tables))
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
