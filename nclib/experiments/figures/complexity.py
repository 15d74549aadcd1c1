"""The figures of chapter 3."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nclib.estimates import Estimate, mean
from nclib.experiments import plots
from nclib.experiments.chapters import complexity
from nclib.experiments.claims import FACTOR, POINT, Claim, Verdict
from nclib.experiments.drawn import identify
from nclib.experiments.figures.parts import EstimatesByScale, Tables, parts_of

_KINDS = ("ResNet", "VGG", "VGG with batch norm")  # of networks, in the order of their colours


def _kind(panel: str) -> str:
    """The kind of network of a panel, without its depth.

    >>> _kind("CIFAR-10 (JPEG copy), VGG-11 with batch norm")
    'VGG with batch norm'
    """
    return re.sub(r"-\d+", "", panel.rpartition(", ")[2])


def _place(panel: str) -> int:
    """The place of a panel's kind of network among all kinds."""
    return _KINDS.index(_kind(panel)) if _kind(panel) in _KINDS else len(_KINDS)


def _source(panel: str) -> str:
    return panel.rpartition(", ")[0]


def _styles(panels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour for each kind of network and a marker for each source, by panel, kind after kind."""
    sources = sorted({_source(panel) for panel in panels})
    return {
        panel: {"color": _colour(panel), "marker": plots.MARKERS[sources.index(_source(panel)) % 7]}
        for panel in sorted(panels, key=_place)
    }


def _colour(panel: str) -> str:
    return plots.COLOURS[_place(panel)]


def _panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """The panels of a table, the networks of each, and how they are drawn."""
    styles = _styles(table["panel"].unique().tolist())
    return [(panel, table[table["panel"] == panel], style) for panel, style in styles.items()]


def _label(panel: str) -> str:
    """The name of a panel without what stands in brackets."""
    return re.sub(r" \(.*?\)", "", panel)


def _shown(estimate: Estimate, of: Callable[..., Any]) -> Estimate:
    """The estimate and the ends of its interval, each turned into what is shown by a function."""
    return Estimate(*(float(of(end)) for end in (estimate.value, estimate.low, estimate.high)))


def dials(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """Complexity and CDNV against each setting of training: a part for each scale, a line for each panel.

    Each setting has a column. Points are geometric means over seeds, with their intervals.
    """
    figure, parts = parts_of(tables, [3.8 + 0.18 * (rows["panel"].nunique() // 2) for rows in tables.values()])
    for part, scale, table in parts:
        axes = part.subplots(2, len(complexity.SWEPT), sharex="col", sharey="row")
        for row, metric in zip(axes, ("complexity", "cdnv"), strict=True):
            for axis, setting in zip(row, complexity.SWEPT, strict=True):
                for panel, rows, style in _panels(complexity.sweep(table, setting)):
                    found = rows.groupby(setting)[metric].apply(lambda each: mean(np.log(each.to_numpy())))
                    x, y = found.index.to_numpy(), [_shown(each, np.exp) for each in found]
                    plots.estimates(axis, x, y, label=_label(panel), markersize=4, **style)
                if setting != "weight_decay":
                    plots.log_scale(axis, "x")
            plots.log_scale(row[0], "y")
            row[0].set_ylabel(plots.read_below(titles[metric]) if metric == "cdnv" else titles[metric])
        for axis, setting in zip(axes[-1], complexity.SWEPT, strict=True):
            axis.set_xlabel(titles[setting])
        part.suptitle(scale, fontweight="bold")
        plots.shared_legend(part, axes.flat, ncols=2, fontsize="small")
    return figure


@dataclass(frozen=True)
class _Unit:
    """How the estimates of a claim are drawn: what turns them into this unit, its name, and the scale of the axis."""

    of: Callable[[Any], Any]
    label: str
    scale: str = "linear"


def _unit(claim: Claim) -> _Unit:
    if claim.smallest == FACTOR:
        return _Unit(np.exp, "times as large", "log")
    if claim.smallest == POINT:
        return _Unit(lambda value: 100 * value, "points of accuracy")
    return _Unit(np.asarray, "rank correlation")


def claims_by_panel(
    judged: Mapping[str, Sequence[Verdict]],
    grid: Mapping[str, Sequence[str]],
    columns: Sequence[str],
    beside: Mapping[str, EstimatesByScale] | None = None,
) -> Figure:
    """The estimates of claims in every panel and, in black, their mean at a scale; grey is the smallest effect.

    `grid` maps the title of a row to the keys of its claims, one for each of the `columns`. All claims of a column are
    drawn in the direction of the first. `beside` are other estimates, drawn open: by claim, scale and panel.
    """
    by_key = {scale: {verdict.claim.key: verdict for verdict in verdicts} for scale, verdicts in judged.items()}
    lines = _lines(by_key, [key for keys in grid.values() for key in keys])
    size = 2 + 1.5 * len(columns), 0.7 + len(grid) * (0.4 + 0.14 * len(lines))
    figure, axes = plt.subplots(len(grid), len(columns), figsize=size, sharex="col", sharey=True, squeeze=False)
    sides = {each.claim.key: each.claim.side for verdicts in judged.values() for each in verdicts}
    first = next(iter(grid.values()))
    for row, keys in zip(axes, grid.values(), strict=True):
        for axis, key, like in zip(row, keys, first, strict=True):
            verdicts = {scale: each[key] for scale, each in by_key.items() if key in each}
            turn = 1 if sides.get(key) == sides.get(like) else -1
            _claim_by_panel(axis, verdicts, lines, turn, (beside or {}).get(key, {}))
    _titles(axes, [*grid], columns)
    names = [_label(panel) or f"{scale}, mean" for scale, panel in lines]
    for axis in axes[:, 0]:
        axis.set_yticks(range(len(lines)), names, fontsize=6.5)
    axes[0, 0].invert_yaxis()
    return figure


def _titles(axes: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Titles at the left of rows of axes and, above these, of columns."""
    for axis, title in zip(axes[:, 0], rows, strict=True):
        axis.set_title(title, loc="left", fontweight="bold", fontsize="small")
    above = (0, 18 if any(rows) else 5)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.annotate(title, (0.5, 1), above, "axes fraction", textcoords="offset points", ha="center")


_MEAN = ""  # the panel of a scale's mean


def _lines(by_key: Mapping[str, Mapping[str, Verdict]], keys: Sequence[str]) -> list[tuple[str, str]]:
    """Scales and panels from above to below, each scale's mean last."""
    found: list[tuple[str, str]] = []
    for scale, verdicts in by_key.items():
        shown = [verdicts[key] for key in keys if key in verdicts and verdicts[key].estimate]
        panels = dict.fromkeys(panel for verdict in shown for panel in verdict.panels)
        found += [(scale, panel) for panel in [*_styles([*panels]), _MEAN] if shown]
    return found


def _claim_by_panel(
    axis: Any,
    verdicts: Mapping[str, Verdict],
    lines: Sequence[tuple[str, str]],
    turn: int,
    beside: EstimatesByScale,
) -> None:
    """Draw the estimates of one claim, times `turn`, each at the height of its line; below them those of `beside`."""
    for scale, verdict in verdicts.items():
        unit, found = _unit(verdict.claim), {**verdict.panels, _MEAN: verdict.estimate}
        heights = {panel: y for y, (where, panel) in enumerate(lines) if where == scale}
        for panel, y in heights.items():
            style = {"color": _colour(panel), "marker": "o"} if panel else {"color": "black", "marker": "D"}
            ours, other = (
                each and _turned(each, turn, unit) for each in (found.get(panel), beside.get(scale, {}).get(panel))
            )
            if ours:
                plots.level_intervals(axis, [y], [ours], markersize=4, **style)
            if other:
                plots.level_intervals(axis, [y + 0.3], [other], markersize=4, markerfacecolor="none", **style)
        axis.axvspan(*unit.of(np.array([-1, 1]) * (verdict.claim.smallest or 0)), color="0.9", zorder=0)
        axis.axvline(unit.of(0), **plots.RULE)
        axis.set_xscale(unit.scale)
        if unit.scale == "log":
            plots.log_ticks(axis.xaxis)
        if axis.get_subplotspec().is_last_row():
            axis.set_xlabel(unit.label)


def _turned(estimate: Estimate, turn: int, unit: _Unit) -> Estimate:
    return _shown(Estimate(turn * estimate.value, turn * estimate.low, turn * estimate.high), unit.of)


def against_complexity(tables: Tables, columns: Mapping[str, str], titles: Mapping[str, str]) -> Figure:
    """Metrics against source complexity: a column for each metric, a row for each scale, a point for each recipe.

    Points are means over seeds.
    """
    size = (8.5, 0.9 + 2.2 * len(tables))
    figure, axes = plt.subplots(len(tables), len(columns), figsize=size, squeeze=False)
    for row, (scale, table) in zip(axes, tables.items(), strict=True):
        recipes = plots.averaged(table, ["panel", *complexity.SWEPT], ["complexity", *columns])
        for axis, metric in zip(row, columns, strict=True):
            for panel, rows, style in _panels(recipes):
                points = rows["complexity"], rows[metric]
                identify(axis.plot(*points, linestyle="", markersize=3.5, label=_kind(panel), **style)[0], rows)
            plots.log_scale(axis, *("x" if metric == "accuracy_5" else "xy"))
        row[0].set_ylabel(scale)
    for axis, (metric, title) in zip(axes[0], columns.items(), strict=True):
        axis.set_title(title if metric == "accuracy_5" else plots.read_below(title))
    axes[-1, len(columns) // 2].set_xlabel(f"{titles['complexity']}, source")
    plots.shared_legend(figure, axes.flat, ncols=3)
    return figure


def along_training(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """Complexity and CDNV of the base networks against the share of their training, geometric means over seeds."""
    figure, axes = plt.subplots(1, 2 * len(tables), figsize=(8.5, 2.6))
    drawn = [(scale, table, metric) for scale, table in tables.items() for metric in ("complexity", "cdnv")]
    for axis, (scale, table, metric) in zip(axes, drawn, strict=True):
        for panel, rows, style in _panels(complexity.base(table)):
            epochs = np.array(rows["measured_epochs"].iloc[0])
            values = np.exp(np.log(rows[metric].tolist()).mean(axis=0))
            axis.plot(epochs / epochs[-1], values, label=_kind(panel), markersize=3, linewidth=1, **style)
        plots.log_scale(axis, "y")
        axis.set(xlabel="share of the training", title=f"{scale}: {titles[metric]}")
    plots.shared_legend(figure, axes, ncols=3)
    return figure


def bound(tables: Tables, title: str) -> Figure:
    """The CDNV of the base networks at all epochs against its bound, by scale; on the line they would be equal."""
    figure, axes = plt.subplots(1, len(tables), figsize=(8, 3), squeeze=False, sharey=True)
    for axis, (scale, table) in zip(axes[0], tables.items(), strict=True):
        for panel, rows, style in _panels(complexity.base(table)):
            points = complexity.bounds(rows), np.concatenate(rows["cdnv"].to_list())
            axis.plot(*points, ".", color=style["color"], markersize=2, label=_kind(panel))
        ends = axis.get_xlim()
        axis.plot(ends, ends, **plots.RULE)
        axis.set(xscale="log", yscale="log", title=scale, xlabel="bound on CDNV")
    axes[0, 0].set_ylabel(plots.read_below(title))
    plots.shared_legend(figure, axes[0], ncols=3, markerscale=4)
    return figure


def errors_of_estimates(tables: Tables, ways: Mapping[str, str]) -> Figure:
    """Relative errors of estimates of complexity against what they use: a panel for each way, a line for each scale.

    Dashed lines are the standard errors that the estimates state.
    """
    figure, axes = plt.subplots(1, len(ways), figsize=(8.5, 2.6), sharey=True, squeeze=False)
    for axis, (way, title) in zip(axes[0], ways.items(), strict=True):
        for i, (scale, table) in enumerate(tables.items()):
            found, style = complexity.relative_errors(table, way), plots.numbered_style(i)
            plots.estimates(axis, found["amount"], list(found["error"]), label=scale, **style)
            stated = np.sqrt(np.square(table[f"{way}_stated"].tolist()).mean(axis=0))
            axis.plot(found["amount"], stated, linestyle="--", color=style["color"], label=f"{scale}, stated")
        axis.set(xlabel=title)
        plots.log_scale(axis, "x", "y")
    axes[0, 0].set_ylabel("relative error")
    plots.shared_legend(figure, axes[0], ncols=4)
    return figure


def interventions(studies: Mapping[str, Tables], settings: Mapping[str, str], titles: Mapping[str, str]) -> Figure:
    """How far interventions move complexity and other metrics: a row for each metric, a column for each scale.

    `studies` maps the name of an intervention to its tables by scale, `settings` to the setting that is its strength.
    Each panel of networks has a line from the weakest strength to the strongest, which is large and has intervals. All
    is relative to the networks without intervention, where the rules cross.
    """
    scales = list(dict.fromkeys(scale for tables in studies.values() for scale in tables))
    size = (8.5, 0.6 + 2.3 * len(titles))
    figure, axes = plt.subplots(len(titles), len(scales), figsize=size, squeeze=False, sharex=True, sharey="row")
    for row, (metric, title) in zip(axes, titles.items(), strict=True):
        for axis, scale in zip(row, scales, strict=True):
            for i, (name, tables) in enumerate(studies.items()):
                if scale in tables:
                    table = complexity.at_the_end(tables[scale])
                    _moved(axis, table, settings[name], metric, name=name, color=plots.COLOURS[i])
            axis.axhline(0 if metric == "accuracy_5" else 1, **plots.RULE)
            axis.axvline(1, **plots.RULE)
            plots.log_scale(axis, *("x" if metric == "accuracy_5" else "xy"))
        row[0].set_ylabel(title)
    for axis, scale in zip(axes[0], scales, strict=True):
        axis.set_title(scale)
    for axis in axes[-1]:
        axis.set_xlabel("complexity, as a multiple of that without")
    plots.shared_legend(figure, axes.flat, ncols=2)
    return figure


def _moved(axis: Any, table: pd.DataFrame, setting: str, metric: str, *, name: str, color: str) -> None:
    """Draw the path of each panel: how a metric and complexity differ from those without intervention."""
    of, shown = (np.asarray, lambda value: 100 * value) if metric == "accuracy_5" else (np.log, np.exp)
    moved = table.assign(
        x=complexity.against_none(table, setting, "complexity"),
        y=complexity.against_none(table, setting, metric, of=of),
    )
    for panel, rows, _ in _panels(moved):
        marker = plots.MARKERS[_place(panel)]
        path = rows.groupby(setting)[["x", "y"]].mean()
        axis.plot(np.exp(path["x"]), shown(path["y"]), color=color, marker=marker, markersize=3, linewidth=0.8)
        strongest = rows[rows[setting] == rows[setting].max()]
        x, y = (mean(strongest[each].to_numpy()) for each in ("x", "y"))
        (x, y) = _shown(x, np.exp), _shown(y, shown)
        bars = {"xerr": _arms(x), "yerr": _arms(y), "markersize": 7, "label": f"{name}: {_kind(panel)}"}
        axis.errorbar(x.value, y.value, **bars, color=color, marker=marker, linestyle="")


def _arms(estimate: Estimate) -> np.ndarray:
    """How far an interval reaches below and above its estimate, (2, 1); 0 where there is none."""
    return np.nan_to_num([[estimate.value - estimate.low], [estimate.high - estimate.value]])
