"""Chapter 4: ways of fine-tuning held against each other, and collapse against accuracy over them (Li et al. 2024)."""

from collections.abc import Iterable
from functools import partial

import numpy as np
import pandas as pd

from nclib.estimates import Estimate, mean, mean_spearman
from nclib.experiments.cells import named_models, of_method, of_task, trained_models
from nclib.experiments.chapters import downstream
from nclib.experiments.claims import FACTOR, POINT, RANKS, Claim
from nclib.experiments.inference import rows_of
from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import Scale

SENSITIVE = 0.04  # of accuracy that full fine-tuning must win over a linear probe, for a task to tell methods apart
COMPARED = ("linear", "bias", "layer", "skip", "lora", "full")  # of fine-tuning


def _tuned(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """What says all about each model that is fine-tuned, and how, but for the method."""
    given = scale.fine_tuning
    common = {"rates": list(given.rates), "epochs_tuned": given.epochs, "augmentation_tuned": given.augmentation}
    models = trained_models([given.recipe], seeds) if given.recipe else named_models(given.models, seeds)
    return [model | common for model in models]


def _repeats(scale: Scale, seeds: Iterable[int]) -> list[int]:
    return list(seeds)[: scale.fine_tuning.repeats]


def fine_tuning(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """Every method on every task, with all its images."""
    return [
        model | of_task(task, task.train_per_class) | of_method(method, scale.fine_tuning.layers)
        for model in _tuned(scale, _repeats(scale, seeds))
        for task in scale.fine_tuning.tasks
        for method in COMPARED
    ]


def data_scarcity(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """Some methods on a task, with few and all of its images, each draw of them with a network of its own.

    The draws take the place of the seeds.
    """
    given = scale.fine_tuning
    return [
        model | of_task(task, number) | of_method(method, given.layers) | {"draw": draw}
        for task in (given.tasks[0], *given.scarce_tasks)
        for number in given.scarce
        for draw in range(given.draws)
        for model in _tuned(scale, [draw])
        for method in ("linear", "layer", "skip", "full")
    ]


def tuned_layer(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One layer after another, with a skip connection of either kind and without, on one task."""
    given = scale.fine_tuning
    task = given.tasks[0]
    return [
        model | of_task(task, task.train_per_class) | of_method(method, [layer])
        for model in _tuned(scale, _repeats(scale, seeds))
        for layer in given.all_layers
        for method in ("layer", "skip", "skip project")
    ]


# What two methods are compared on: the same network, task and images.
_PLACE = ["model", "seed", "task", "train_per_class", "draw"]


def gap(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `gap`, by how much accuracy on the training images is above that on the test images."""
    return table.assign(gap=table["train_accuracy"] - table["accuracy"])


def paired(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric by method, one column each, one row for each network, task and set of images."""
    places = [name for name in _PLACE if name in table]
    return table.pivot(index=places, columns="method", values=metric)


def difference(table: pd.DataFrame, metric: str, method: str, other: str) -> Estimate:
    """The mean of a metric of a method less that of another, with Student's t interval over networks, tasks, images."""
    methods = paired(table, metric)
    return mean((methods[method] - methods[other]).to_numpy())


def across_methods(table: pd.DataFrame, metric: str = "nc1") -> Estimate:
    """Rank correlation of a metric and accuracy over methods, the mean over models and tasks; methods are resampled.

    The networks of one recipe, told apart by `seed`, are averaged first. The interval says how far six methods decide,
    not how far another training would move them.
    """
    values = table.groupby(["model", "task", "method"], as_index=False)[[metric, "accuracy"]].mean()
    places = values["model"] + " on " + values["task"]
    return downstream.across_models(values.assign(task=places, model=values["method"], seed=0), metric)


def fewest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with the fewest training images a class."""
    return table[table["train_per_class"] == table["train_per_class"].min()]


def most(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with the most training images a class."""
    return table[table["train_per_class"] == table["train_per_class"].max()]


def contrast(table: pd.DataFrame, metric: str, method: str, other: str) -> pd.DataFrame:
    """A metric of a method less that of another: replicates are networks (or models) and draws, panels the tasks."""
    methods = paired(table, metric)
    found = (methods[method] - methods[other]).rename("value").reset_index()
    ids = [name for name in ("model", "seed", "draw") if name in found]
    return found.assign(replicate=found[ids].astype(str).agg("/".join, axis=1), panel=found["task"], contrast="")


def _over_methods(table: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of NC1 and accuracy over methods, of each network on each task."""

    def correlation(rows: pd.DataFrame) -> float:
        return mean_spearman(rows["nc1"].to_numpy(), rows["accuracy"].to_numpy())

    by_network = table.groupby(["model", "seed", "task"])[["nc1", "accuracy"]]
    found = by_network.apply(correlation).rename("value").reset_index()
    return found.assign(replicate=found["model"] + "/" + found["seed"].astype(str), panel=found["task"], contrast="")


def _growth(table: pd.DataFrame) -> pd.DataFrame:
    """By how much more it is ahead with the fewest images than with all, of each draw."""
    few, all_ = (contrast(rows, "accuracy", "skip", "full") for rows in (fewest(table), most(table)))
    return few.assign(value=few["value"] - all_["value"])


def sensitive(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of tasks on which there is something to win: full fine-tuning is well above a linear probe."""
    won = (paired(table, "accuracy")["full"] - paired(table, "accuracy")["linear"]).groupby("task").mean()
    return table[table["task"].isin(won.index[won >= SENSITIVE])]


_scl = partial(Claim, paper="li2024", study="fine_tuning")
_scarce = partial(Claim, paper="li2024", study="data_scarcity", threshold=0.0, smallest=POINT)

CLAIMS = (
    _scl(
        key="A2-methods",
        side="below",
        threshold=0.0,
        smallest=RANKS,
        kind="correlation",
        sentence="Ways of fine-tuning that collapse more on the downstream training data transfer better.",
        statistic="rank correlation of NC1 and accuracy over six ways of fine-tuning, mean over tasks",
        replicates=_over_methods,
    ),
    _scl(
        key="A4-collapse",
        sentence="With a skip connection a layer's tuning collapses the downstream data more than without it.",
        statistic="natural logarithm of NC1 on the training images with it over that without",
        side="below",
        threshold=0.0,
        smallest=FACTOR,
        replicates=lambda table: contrast(table.assign(nc1=np.log(table["nc1"])), "nc1", "skip", "layer"),
    ),
    _scl(
        key="A4-accuracy",
        sentence="It performs about as well as full fine-tuning, or better. (Our reading: at most two points worse.)",
        statistic="its test accuracy less that of full fine-tuning, where that is four points above a linear probe's",
        side="above",
        threshold=-0.02,
        replicates=lambda table: contrast(sensitive(table), "accuracy", "skip", "full"),
        untested=lambda table: "" if len(sensitive(table)) else "a linear probe does as well as full fine-tuning",
    ),
    _scl(
        key="A4-parameters",
        sentence="It tunes at least 90% fewer parameters.",
        statistic="the largest share of the parameters that it trains, of all models and tasks",
        side="below",
        threshold=0.1,
        kind="exact",
        replicates=lambda table: rows_of([paired(table, "share")["skip"].max()]),
    ),
    _scarce(
        key="A5-gap",
        sentence="It mitigates overfitting.",
        statistic="training less test accuracy with it, less that of full fine-tuning, with the fewest images",
        side="below",
        replicates=lambda table: contrast(gap(fewest(table)), "gap", "skip", "full"),
    ),
    _scarce(
        key="A5-scarce",
        sentence="It does better than full fine-tuning where data is scarce.",
        statistic="its test accuracy less that of full fine-tuning, with the fewest images",
        side="above",
        replicates=lambda table: contrast(fewest(table), "accuracy", "skip", "full"),
    ),
    _scarce(
        key="A5-most",
        sentence="It helps most when data is scarce.",
        statistic="by how much more it is ahead of full fine-tuning with the fewest images than with all",
        side="above",
        replicates=_growth,
    ),
)

STUDIES = (fine_tuning, data_scarcity, tuned_layer)
LIVE: dict[str, Cell] = {
    "fine_tuning": {"method": "skip"},
    "data_scarcity": {"method": "skip"},
    "tuned_layer": {"method": "layer"},
}
