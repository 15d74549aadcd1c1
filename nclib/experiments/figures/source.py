"""The figures of chapter 2."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from nclib.experiments import plots
from nclib.experiments.chapters import source
from nclib.experiments.figures.parts import Tables, means_of, parts_of, replicates_and_mean


def dial(tables: Tables) -> Figure:
    """Transfer, and accuracy on the source, as only collapse varies: a column for each source, a line for each seed."""
    sources = [
        (scale, *each) for scale, table in tables.items() for each in source.by_source(table, "collapse").items()
    ]
    figure, axes = plt.subplots(2, len(sources), figsize=(9, 4.8), sharex="col", squeeze=False)
    for column, (scale, name, rows) in zip(axes.T, sources, strict=True):
        for axis, metric, where in zip(column, ("transfer", "source_accuracy"), ("downstream", "source"), strict=True):
            replicates_and_mean(axis, rows, ["seed"], "collapse", "nc1_ratio", metric)
            axis.set_ylabel(f"{where} accuracy")
        column[0].set_title(f"{scale}: {plots.short(name)}")
        column[1].set_xlabel(f"source trace ratio ({plots.READING})")
    return figure


def heuristics(tables: Tables, titles: Mapping[str, str]) -> Figure:
    """Transfer against source NC1: a panel for each setting that is varied, a row of panels for each scale."""
    figure, parts = parts_of(tables, [2.9] * len(tables))
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
    """The curve of transfer against the trace ratio as only collapse varies, and the means of each other setting.

    All are networks on the scale's own source. Means that transfer worse than the whole curve are not shown.
    """
    figure, axes = plt.subplots(1, len(tables), figsize=(4.4 * len(tables), 3.4), squeeze=False)
    for axis, (scale, table) in zip(axes[0], tables.items(), strict=True):
        own = table[table["source"] == table["source"].iloc[0]]
        curve = means_of(source.panel(own, "collapse"), "collapse", "nc1_ratio", "transfer")
        axis.plot(curve["nc1_ratio"], curve["transfer"], color="black", label="collapse alone")
        for setting, title in titles.items():
            points = means_of(source.panel(own, setting), setting, "nc1_ratio", "transfer")
            shown = points[points["transfer"] > curve["transfer"].min()]
            style = plots.setting_style(setting)
            axis.plot(shown["nc1_ratio"], shown["transfer"], linestyle="", alpha=0.8, label=title, **style)
        axis.set(title=scale, xlabel=f"source trace ratio ({plots.READING})")
        plots.log_scale(axis, "x")
    axes[0, 0].set_ylabel("downstream accuracy")
    plots.shared_legend(figure, axes[0], ncols=5)
    return figure
