"""Chapter 3: collapse on the downstream data, over models, over layers, with few shots (Li et al. 2022, 2024)."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from nclib.estimates import Estimate, bootstrap, mean_spearman, partial_spearman
from nclib.experiments.cells import named_models, of_task, trained_models
from nclib.experiments.chapters.source import recipes
from nclib.experiments.claims import RANKS, Claim
from nclib.experiments.inference import rows_of, seeds_or_panels
from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import Scale


def zoo(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """What says all about each pre-trained model of a scale: its name, or its recipe and a title.

    Without models of its own a scale has the networks of the source-collapse study, and a few of other
    widths and depths. Each seed is a draw of the images of the tasks, too; of a named model it is nothing else.
    """
    base = scale.recipe
    others = [replace(base, width=base.width // 2), replace(base, width=3 * base.width // 2), replace(base, blocks=3)]
    named = (
        named_models(scale.models, seeds) if scale.models else trained_models([*recipes(base), *others], seeds, base)
    )
    return [model | {"draw": model["seed"]} for model in named]


def _on_tasks(models: Iterable[Cell], scale: Scale, more: Cell) -> list[Cell]:
    return [model | of_task(task, task.train_per_class) | more for model in models for task in scale.model_tasks]


def downstream_collapse(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One pre-trained model on one task a cell."""
    return _on_tasks(zoo(scale, seeds), scale, {"shots": [1, 5, 20], "episodes": 10})


def collapse_by_layer(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One pre-trained model on one task a cell, all its layers: every named model, or the deepest recipe."""
    models = zoo(scale, seeds)
    deepest = max(model.get("blocks", 0) for model in models)
    return _on_tasks([model for model in models if model.get("blocks", 0) == deepest], scale, {})


RIVALS = ("nc1", "nc1_ratio", "cdnv", "vci", "directional_cdnv")  # metrics that could rank models


def _columns(table: pd.DataFrame, names: str | Sequence[str]) -> np.ndarray:
    """The values of the columns, (models, tasks x names)."""
    names = [names] if isinstance(names, str) else list(names)
    return np.hstack([_by_model(table, name).to_numpy() for name in names])


def _by_model(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """One row a model and seed, one column a task."""
    return table.pivot(index=["model", "seed"], columns="task", values=name)


def _models(table: pd.DataFrame) -> np.ndarray:
    return _by_model(table, "accuracy").index.get_level_values("model").to_numpy()


def across_models(
    table: pd.DataFrame, metric: str = "nc1", accuracies: str | Sequence[str] = ("accuracy",)
) -> Estimate:
    """Rank correlation of a metric and accuracies over models, the mean over tasks and accuracies.

    Models are resampled with all their seeds and tasks.
    """
    y = _columns(table, accuracies)
    x = np.tile(_columns(table, metric), y.shape[1] // table["task"].nunique())
    return bootstrap(mean_spearman, x, y, groups=_models(table))


def lead(table: pd.DataFrame, rival: str) -> Estimate:
    """By how much NC1 ranks better than a rival: the rival's `across_models` less that of NC1; above 0 is better.

    The two are of the same resampled models.
    """

    def difference(nc1: np.ndarray, other: np.ndarray, accuracy: np.ndarray) -> float:
        return mean_spearman(other, accuracy) - mean_spearman(nc1, accuracy)

    samples = (_columns(table, name) for name in ("nc1", rival, "accuracy"))
    return bootstrap(difference, *samples, groups=_models(table))


def across_layers(table: pd.DataFrame, metric: str = "nc1") -> Estimate:
    """Rank correlation of a metric and accuracy over the layers of a model, the mean over models and tasks.

    Tasks are resampled with all their models.
    """
    values = [mean_spearman(np.array(x), np.array(y)) for x, y in zip(table[metric], table["accuracy"], strict=True)]
    return bootstrap(np.mean, np.array(values), groups=table["task"].to_numpy())


def lost_by(table: pd.DataFrame, metric: str = "nc1") -> Estimate:
    """Accuracy lost by taking the layer with the least of a metric for the best one; tasks are resampled."""
    lost = [max(y) - y[int(np.argmin(x))] for x, y in zip(table[metric], table["accuracy"], strict=True)]
    return bootstrap(np.mean, np.array(lost), groups=table["task"].to_numpy())


def _replicates(table: pd.DataFrame, found: pd.Series) -> pd.DataFrame:
    """Rows of what was found of each seed on each task.

    Networks that are trained here are trained anew with each seed, and tasks are panels. Named models are the same
    with every draw of the images: then tasks are the replicates, each with the mean of its draws.
    """
    values = found.rename("value").reset_index().rename(columns={"task": "panel"})
    if "weights" not in table:
        return seeds_or_panels(values)
    means = values.groupby("panel", sort=False)["value"].mean()
    return rows_of(means, replicate=means.index)


def _over_models(table: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> pd.DataFrame:
    """A statistic of all models, of each seed on each task."""
    return _replicates(table, table.groupby(["seed", "task"])[[*table.columns]].apply(statistic))


def _correlation(accuracies: Sequence[str], rows: pd.DataFrame) -> float:
    """Rank correlation of NC1 and accuracy, the mean over accuracies."""
    return float(np.mean([mean_spearman(rows["nc1"].to_numpy(), rows[name].to_numpy()) for name in accuracies]))


def _given_width(rows: pd.DataFrame) -> float:
    """Rank correlation of NC1 and accuracy, the number of features held fixed."""
    return partial_spearman(*(rows[name].to_numpy() for name in ("nc1", "accuracy", "num_features")))


def given_depth(table: pd.DataFrame) -> pd.Series:
    """Rank correlation of NC1 and accuracy over the layers of a network, their depth held fixed: one a row.

    Only layers of more features than there are classes count: NC1 of a narrower one has fewer directions to sum over.
    NaN where there are fewer than four of them.
    """
    found = []
    for _, row in table.iterrows():
        wide = np.array(row["num_features"]) > row["num_classes"]
        nc1, accuracy, depth = np.array(row["nc1"])[wide], np.array(row["accuracy"])[wide], np.flatnonzero(wide)
        found.append(partial_spearman(nc1, accuracy, depth) if len(depth) > 3 else math.nan)
    return pd.Series(found, index=table.index)


def _over_layers(table: pd.DataFrame) -> pd.DataFrame:
    """`given_depth`, the mean over the models that have it: of each seed on each task."""
    return _replicates(table, table.assign(value=given_depth(table)).groupby(["seed", "task"])["value"].mean())


_claim = partial(Claim, paper="li2022", side="below", threshold=0.0, smallest=RANKS, kind="correlation")
_STATISTIC = "rank correlation of downstream NC1 and {} accuracy over {}, mean over tasks"

CLAIMS = (
    _claim(
        key="A2-models",
        sentence="Pre-trained models that collapse more on the downstream training data transfer better.",
        study="downstream_collapse",
        statistic=_STATISTIC.format("probe", "models"),
        replicates=partial(_over_models, statistic=partial(_correlation, ["accuracy"])),
    ),
    _claim(
        key="A2-width",
        sentence="Collapse says more of how well models transfer than the width of their features does. (Our rival.)",
        study="downstream_collapse",
        statistic=_STATISTIC.format("probe", "models") + ", given their numbers of features",
        replicates=partial(_over_models, statistic=_given_width),
    ),
    _claim(
        key="A2-shots",
        sentence="Collapse on the downstream training data goes with few-shot accuracy, too. (Our extension.)",
        study="downstream_collapse",
        statistic=_STATISTIC.format("1-, 5- and 20-shot", "models"),
        replicates=partial(_over_models, statistic=partial(_correlation, ["accuracy_1", "accuracy_5", "accuracy_20"])),
    ),
    _claim(
        key="A2-layers",
        sentence="Layers that collapse more on the downstream training data transfer better, whatever their depth. "
        "(Our extension.)",
        study="collapse_by_layer",
        statistic=_STATISTIC.format("probe", "layers wider than the number of classes") + ", given the layers' depth",
        replicates=_over_layers,
    ),
)

STUDIES = (downstream_collapse, collapse_by_layer)
LIVE: dict[str, Cell] = {"downstream_collapse": {"model": "base"}, "collapse_by_layer": {}}
