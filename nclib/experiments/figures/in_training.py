"""The figures of chapter 1."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nclib.estimates import nine_digits
from nclib.experiments import plots
from nclib.experiments.chapters import in_training
from nclib.experiments.figures.parts import Tables


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
    """Six metrics along training, means over networks and their range: a panel per metric, a colour per scale.

    `shown` gives each metric's title, and says which side is more collapsed. A dashed line is where all networks have
    reached the terminal phase, if they have; a dotted line is the value of a metric `at_random`, by scale.
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
    """The first epoch at which all networks are in the terminal phase; None if one never is."""
    starts = [in_training.phase_start(errors) for errors in rows["train_error"]]
    known = [start for start in starts if start is not None]
    return rows["epoch"].iloc[0][max(known)] if len(known) == len(starts) else None


def classes_in_a_plane(pictures: Sequence[Any], epochs: Sequence[int], names: Sequence[str]) -> Figure:
    """Samples of three classes around the corners of a triangle, (3, n, 2), in a panel for each epoch."""
    figure, axes = plt.subplots(1, len(epochs), figsize=(2 * len(epochs), 2.3), sharex=True, sharey=True, squeeze=False)
    angles = np.pi / 2 + 2 * np.pi / 3 * np.arange(4)  # the last is the first again
    for axis, epoch, picture in zip(axes[0], epochs, pictures, strict=True):
        axis.plot(np.cos(angles), np.sin(angles), color="0.6", linewidth=0.8)
        for i, (points, name) in enumerate(zip(picture, names, strict=True)):
            axis.scatter(*np.array(points).T, s=8, label=name, **plots.numbered_style(i))
        axis.set(title=f"epoch {epoch}", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal")
    axes[0, -1].legend(loc="lower right", handletextpad=0.1)
    return figure
