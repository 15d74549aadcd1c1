"""Chapter 4: collapse on the downstream data, over models, over layers, with few shots (Li et al. 2022, 2024)."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from nclib.estimates import Estimate, bootstrap, fisher, mean_spearman, partial_spearman
from nclib.experiments.cells import named_models, of_task, recipe_columns, trained_models
from nclib.experiments.chapters.source import recipes
from nclib.experiments.claims import RANKS, Claim
from nclib.experiments.inference import rows_of, seeds_or_panels, summary
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

# Beginnings of the names of the lab's models, and what each family is called.
FAMILIES = {
    "bank_mobilenet_v1": "MobileNetV1",
    "bank_mobilenet_v2_100_224_inat": "MobileNetV2, iNaturalist",
    "bank_mobilenet_v2": "MobileNetV2",
    "bank_mbv2": "MobileNetV2",
    "bank_mcunet": "MCUNet, ProxylessNAS",
    "bank_proxyless": "MCUNet, ProxylessNAS",
    "bank_squeezenet": "SqueezeNet",
}


def family(model: str) -> str:
    """What a model is of: the family of one of the lab's, else the first word, such as what a recipe varies.

    Examples
    --------
    >>> family("bank_mobilenet_v1_025_128"), family("epochs 32")
    ('MobileNetV1', 'epochs')
    """
    return next((name for start, name in FAMILIES.items() if model.startswith(start)), model.split()[0])


def with_source_accuracy(table: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """The table with the `source_accuracy` of its recipes and seeds in that of chapter 2; NaN of those it has not."""
    if "weights" in table:  # others trained these models
        return table.assign(source_accuracy=math.nan)
    same = [name for name in recipe_columns(table) if name in networks]
    return table.merge(networks[[*same, "source_accuracy"]].drop_duplicates(same), "left", same)


def _merit(rows: pd.DataFrame, name: str) -> pd.Series:
    """Highest for what an order puts first: the least of a measure of collapse, the most of anything else."""
    return -rows[name] if name in RIVALS else rows[name]


def ranked_by(
    table: pd.DataFrame, name: str, accuracies: Sequence[str] = ("accuracy",), given: str | None = None
) -> pd.DataFrame:
    """Rows of the rank correlation of an order of the models with accuracy, the mean over accuracies.

    First in the order is the least of a measure of collapse, or the most of another column, such as `num_features`;
    so 1 is the order of accuracy. What is `given` is held fixed. Models without a value are left out, and so are tasks
    on which there is no correlation, for all models have one value.
    """

    def correlate(rows: pd.DataFrame) -> float:
        merit, fixed = _merit(rows, name).to_numpy(), rows[given].to_numpy() if given else np.zeros(len(rows))
        if np.ptp(fixed) == 0:
            return float(np.mean([mean_spearman(merit, rows[each].to_numpy()) for each in accuracies]))
        return float(np.mean([partial_spearman(merit, rows[each].to_numpy(), fixed) for each in accuracies]))

    rows = _over_models(table[table[name].notna()], correlate)
    tasks = _tasks(rows)
    return rows[~tasks.isin(tasks[rows["value"].isna()])]


def lost_by(table: pd.DataFrame, name: str | None) -> pd.DataFrame:
    """Rows of the accuracy by which the first model of an order, as of `ranked_by`, falls short of the best one.

    Of several that are first it is their mean; without a name that of all models, which a choice at random loses.
    """

    def lost(rows: pd.DataFrame) -> float:
        merit = _merit(rows, name) if name else pd.Series(0, rows.index)
        return float(rows["accuracy"].max() - rows.loc[merit == merit.max(), "accuracy"].mean())

    return _over_models(table if name is None else table[table[name].notna()], lost)


def _tasks(rows: pd.DataFrame) -> pd.Series:
    """The task of each row: its panel, or its replicate where tasks are that."""
    return rows["panel"].where(rows["panel"] != "", rows["replicate"])


def average(rows: pd.DataFrame) -> Estimate:
    """The `summary` of rows; NaN of none."""
    return Estimate(math.nan) if rows.empty else summary(rows)


def correlation(rows: pd.DataFrame) -> Estimate:
    """The mean of correlations with the interval that a claim has, which is that of Fisher's z; NaN of none."""
    found = average(rows.assign(value=fisher(rows["value"])))
    return Estimate(*np.tanh([found.value, found.low, found.high]).tolist())


def by_task(rows: pd.DataFrame) -> dict[str, Estimate]:
    """The `correlation` of each task."""
    return {str(task): correlation(part) for task, part in rows.groupby(_tasks(rows), sort=False)}


def difference(rows: pd.DataFrame, others: pd.DataFrame) -> Estimate:
    """The mean of rows less others of the same replicates and tasks."""
    return average(rows.assign(value=rows["value"] - others["value"]).dropna(subset="value"))


def with_orders(table: pd.DataFrame) -> pd.DataFrame:
    """The table of layers with two more columns to choose the least of.

    `wide_nc1` is NC1 of the layers with more features than classes, NaN of the others; `left` is how many layers are
    still to come.
    """
    parts = zip(table["nc1"], table["num_features"], table["num_classes"], strict=True)
    wide = [np.where(np.array(widths) > classes, nc1, math.nan) for nc1, widths, classes in parts]
    return table.assign(wide_nc1=wide, left=[np.arange(len(nc1))[::-1] for nc1 in table["nc1"]])


def layers_ranked_by(table: pd.DataFrame, metric: str) -> pd.Series:
    """Rank correlation of accuracy with the order of the layers of a network, the least of a metric first: one a row.

    Layers without a value are left out; NaN of fewer than four.
    """
    found = []
    for values, accuracy in zip(table[metric], table["accuracy"], strict=True):
        known = ~np.isnan(values)
        few = known.sum() < 4
        found.append(math.nan if few else mean_spearman(-np.array(values)[known], np.array(accuracy)[known]))
    return pd.Series(found, index=table.index)


def lost_by_layer(table: pd.DataFrame, metric: str) -> pd.Series:
    """The accuracy by which the layer with the least of a metric falls short of the best one: one a row.

    NaN where no layer has a value.
    """
    found = []
    for values, accuracy in zip(table[metric], table["accuracy"], strict=True):
        known = not np.isnan(values).all()
        found.append(max(accuracy) - accuracy[int(np.nanargmin(values))] if known else math.nan)
    return pd.Series(found, index=table.index)


def over_tasks(table: pd.DataFrame, found: pd.Series) -> pd.DataFrame:
    """Rows of what was found of each row of a table, the mean over models, as the claims are judged by."""
    return _replicates(table, table.assign(value=found).groupby(["seed", "task"])["value"].mean()).dropna()


def over_networks(table: pd.DataFrame, found: pd.Series) -> pd.DataFrame:
    """Rows of what was found of each row of a table, tasks being panels.

    Networks are the replicates: seeds of those that were trained here, else models, each the mean over the draws.
    """
    names = table[["task", "model" if "weights" in table else "seed"]].set_axis(["panel", "replicate"], axis=1)
    values = names.assign(value=found).groupby(["panel", "replicate"], sort=False)["value"].mean()
    return values.dropna().reset_index().assign(contrast="")


STUDIES = (downstream_collapse, collapse_by_layer)
LIVE: dict[str, Cell] = {"downstream_collapse": {"model": "base"}, "collapse_by_layer": {}}
