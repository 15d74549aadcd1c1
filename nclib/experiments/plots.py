"""The parts of the book's figures: one style, and for each thing the same colour and marker throughout."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nclib.estimates import Estimate, mean, nine_digits
from nclib.experiments.chapters.fine_tuning import COMPARED
from nclib.experiments.drawn import identify

# Okabe and Ito's palette, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# A line of reference, such as that of no correlation.
RULE: dict[str, Any] = {"color": "0.4", "linewidth": 0.8}

# How to read a measure of collapse.
READING = "lower is more collapsed"

# Ways of fine-tuning, in the order of their styles.
DRAWN_METHODS = (*COMPARED, "skip project")

# The settings that studies vary, in the order of their styles.
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


def task_style(task: str) -> dict[str, Any]:
    """The colour and marker of a task, the same in every figure; two tasks of a scale differ in one or the other."""
    i = _tasks().index(task) if task in _tasks() else crc32(task.encode())
    return {"color": COLOURS[i % 6], "marker": MARKERS[i % 7]}


_TITLES = {
    "ag news": "AG News",
    "banking77": "Banking77",
    "cifar10": "CIFAR-10",
    "dtd": "DTD",
    "fashion-mnist": "Fashion-MNIST",
    "flowers102": "Flowers-102",
    "mnist": "MNIST",
    "sst1": "SST-1",
    "trec": "TREC",
}


def short(task: str) -> str:
    """The title of a task for a panel or legend: without what stands in brackets, and without a folder.

    >>> short("glyphs/greek"), short("cifar10 (JPEG copy)"), short("folder:dtd"), short("omniglot, Japanese_(katakana)")
    ('Greek', 'CIFAR-10', 'DTD', 'Omniglot, Japanese (katakana)')
    """
    name = task.removeprefix("folder:").split(" (")[0].rsplit("/")[-1].replace("_", " ").replace("omniglot", "Omniglot")
    return name.capitalize() if task.startswith("glyphs/") else _TITLES.get(name, name)


def numbered_style(i: int) -> dict[str, Any]:
    """The colour and marker of the i-th of many things; the first 42 are all different."""
    return {"color": COLOURS[i % 7], "marker": MARKERS[(i + i // 7) % 7]}


def setting_style(setting: str) -> dict[str, Any]:
    """The colour and marker of a setting that studies vary, the same in every figure; those of "base" are its own."""
    return {"color": "black", "marker": "*"} if setting == "base" else numbered_style(SETTINGS.index(setting))


def method_style(method: str) -> dict[str, Any]:
    """The colour and marker of a way of fine-tuning, the same in every figure."""
    return numbered_style(DRAWN_METHODS.index(method))


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
    """Set the book's style for all figures and tables that follow; pictures in a notebook carry their data."""
    import matplotlib.pyplot as plt

    from nclib.experiments.pictures import carry_data

    carry_data()
    plt.style.use(STYLE)
    # Tables are shown whole, and those of claims hold sentences.
    pd.set_option("display.max_colwidth", None, "display.max_rows", None, "display.precision", 4)


def trajectories(
    axis: Any,
    epochs: ArrayLike,
    runs: Sequence[ArrayLike],
    *,
    colour: str,
    label: str | None = None,
    average: Callable[..., np.ndarray] = np.mean,
) -> None:
    """Draw the average of several runs (runs, epochs) as a line, with a band from the lowest to the highest."""
    values = np.array(list(runs))
    axis.plot(epochs, nine_digits(average(values, axis=0)), color=colour, label=label)
    axis.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)


def along_depth(axis: Any, curves: Sequence[Sequence[float]], colour: str, label: str | None = None) -> None:
    """Draw the median of curves over the layers of models, and their range."""
    depth = np.linspace(0, 1, 25)
    resampled = [np.interp(depth, np.linspace(0, 1, len(values)), values) for values in curves]
    trajectories(axis, depth, resampled, colour=colour, label=label, average=np.median)


def estimates(axis: Any, x: ArrayLike, values: Sequence[Estimate], **style: Any) -> None:
    """Draw estimates with their intervals along x, joined by a line."""
    heights = np.array([value.value for value in values])
    ends = np.array([[value.value - value.low, value.high - value.value] for value in values]).T
    axis.errorbar(x, heights, yerr=np.nan_to_num(ends), linewidth=1, capsize=2, **style)


def means(axis: Any, rows: pd.DataFrame, x: str, y: str, **style: Any) -> None:
    """Draw the mean of y over the rows of each x, with 95% t intervals, joined by a line."""
    found = rows.groupby(x)[y].apply(lambda values: mean(values.to_numpy()))
    estimates(axis, found.index.to_numpy(), list(found), **style)


def level_intervals(axis: Any, heights: ArrayLike, values: Sequence[Estimate], **style: Any) -> None:
    """Draw estimates with their intervals, each at its height."""
    axis.hlines(heights, [each.low for each in values], [each.high for each in values], style["color"], lw=1)
    axis.plot([each.value for each in values], heights, linestyle="", **style)


def read_below(title: str) -> str:
    """The title of a measure of collapse, with how to read it on the next line."""
    return f"{title}\n({READING})"


def log_ticks(axis: Any) -> None:
    """Put plain numbers on a logarithmic axis, close enough that there are always a few."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    every = {100: (1.0,), 20: (1.0, 3.0), 6: (1.0, 2.0, 5.0), 0: (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)}
    steps = next(subs for ratio, subs in every.items() if high > ratio * low)
    narrow = high < 2 * low  # where a logarithm is all but straight
    most = 4 if high > 1e4 * low else 6  # so that long numbers do not touch
    axis.set_major_locator(MaxNLocator(4) if narrow else LogLocator(subs=steps, numticks=most))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def log_scale(axis: Any, *ways: str) -> None:
    """Make "x", "y" or both of a finished axis logarithmic, with plain numbers at the ticks."""
    for way in ways:
        axis.set(**{f"{way}scale": "log"})
        log_ticks(getattr(axis, f"{way}axis"))


def points(axis: Any, rows: pd.DataFrame, x: str, y: str, **style: Any) -> None:
    """Draw points (x, y), one for each row; the book can say which row a point shows, see `drawn.identify`."""
    identify(axis.scatter(rows[x], rows[y], **style), rows)


def averaged(rows: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Means of values over the seeds of each group of rows; its seeds and commits become texts.

    Examples
    --------
    >>> rows = pd.DataFrame({"model": ["a", "a"], "seed": [0, 1], "commit": ["c1", "c1"], "nc1": [1.0, 2.0]})
    >>> averaged(rows, ["model"], ["nc1"])
      model  nc1  seed commit
    0     a  1.5  0, 1     c1
    """
    listed = dict.fromkeys(
        rows.columns.intersection(["seed", "commit"]), lambda each: ", ".join(map(str, each.unique()))
    )
    return rows.groupby([*by], sort=False).agg(dict.fromkeys(values, "mean") | listed).reset_index()


def panel_scatter(axis: Any, rows: pd.DataFrame, setting: str, x: str, y: str) -> None:
    """Draw points (x, y), one for each network, with a colour and marker for each value of the setting.

    If the setting is a number, a line joins the means of its values in their order.
    """
    values = list(dict.fromkeys(rows[setting]))
    for i, value in enumerate(values):
        of_value = rows[rows[setting] == value]
        points(axis, of_value, x, y, alpha=0.8, label=f"{value}", zorder=3, **numbered_style(i))
    if isinstance(values[0], str):
        return
    averages = rows.groupby(setting, sort=False)[[x, y]].mean().map(nine_digits)
    axis.plot(averages[x], averages[y], color="0.6", linewidth=0.8, zorder=2)


def shared_legend(figure: Any, axes: Any, *, loc: str = "outside lower center", **options: Any) -> None:
    """Draw one legend for all axes of a figure, or of a part of one, with every label once."""
    handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc=loc, **options)
