"""Chapter 5: ways of fine-tuning held against each other, and collapse against accuracy over them (Li et al. 2024)."""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from nclib.estimates import Estimate, mean, mean_spearman
from nclib.experiments.cells import named_models, of_method, of_task, trained_models
from nclib.experiments.chapters import downstream
from nclib.experiments.chapters.source import BALANCED
from nclib.experiments.claims import FACTOR, POINT, RANKS, Claim
from nclib.experiments.inference import rows_of, summary
from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import FineTuning, Scale

COMPARED = ("linear", "bias", "norm", "last", "layer", "skip", "lora", "ia3", "loha", "full")  # of fine-tuning
FORCED = (-0.1, 0.0, 0.1, 0.3)  # what is added to the loss, times the logarithm of the trace ratio
# Tasks on which full fine-tuning was four points or more above a linear probe, in exploration. On the others methods
# are not told apart.
SENSITIVE = ("glyphs/georgian", "glyphs/armenian", "cifar10 (JPEG copy)", "fashion-mnist", "omniglot, Korean")


def _tuned(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """The part of a cell that describes each model that is fine-tuned, and which images it is given."""
    given, seeds = scale.fine_tuning, list(seeds)
    models = trained_models([given.recipe], seeds) if given.recipe else named_models(given.models, seeds)
    return [model | {"draw": model["seed"]} for model in models]


def _way(given: FineTuning, method: str, layers: Iterable[int] = (), epochs: int | None = None) -> Cell:
    """A method, for a number of epochs at a fixed rate, or with those that validation chooses of."""
    fixed = {"rate": given.rate[method.split()[0]]} if epochs or not given.rates else {"rates": list(given.rates)}
    layers = [-2] if method == "last" else list(layers) or ([given.layer] if "rate" in fixed else list(given.layers))
    length = {"epochs_tuned": epochs or given.epochs, "augmentation_tuned": given.augmentation}
    return of_method(method, layers) | fixed | length


def _repeats(scale: Scale, seeds: Iterable[int]) -> list[int]:
    return list(seeds)[: scale.fine_tuning.repeats]


def fine_tuning(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """Every method on every task, with all its images."""
    given = scale.fine_tuning
    return [
        model | of_task(task, task.train_per_class) | _way(given, method)
        for model in _tuned(scale, _repeats(scale, seeds))
        for task in given.tasks
        for method in COMPARED
        if given.rates or method in given.rate  # at lab models have no normalisation to train
    ]


def data_scarcity(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """Some methods on tasks with few and more images, for a number of epochs and at rates that are fixed.

    Nothing is held out, and no early stopping takes the overfitting away. Each seed is a draw of the images and, if it
    is trained here, a network of its own.
    """
    given = scale.fine_tuning
    return [
        model | of_task(task, number) | _way(given, method, epochs=given.length)
        for model in _tuned(replace(scale, fine_tuning=replace(given, models=given.models[:1])), seeds)
        for task in given.scarce_tasks
        for number in given.scarce
        for method in ("linear", "layer", "skip", "last", "full")
    ]


def tuned_layer(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One layer after another, with a skip connection of either kind and without, on one task."""
    given = scale.fine_tuning
    task = given.tasks[0]
    return [
        model | of_task(task, task.train_per_class) | _way(given, method, [layer])
        for model in _tuned(scale, _repeats(scale, seeds))
        for layer in given.all_layers
        for method in ("layer", "skip", "skip project")
    ]


def forced_collapse(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """Full fine-tuning with collapse itself prevented and forced, at a fixed rate and length."""
    given = scale.fine_tuning
    return [
        model
        | of_task(task, task.train_per_class)
        | _way(given, "full", epochs=given.epochs)
        | {"collapse_tuned": strength, "balanced_tuned": BALANCED}
        for model in _tuned(replace(scale, fine_tuning=replace(given, models=given.models[:1])), _repeats(scale, seeds))
        for task in given.tasks
        for strength in FORCED
    ]


# What two methods are compared on: the same network, task and images.
_PLACE = ["model", "seed", "task", "train_per_class", "draw"]


def gap(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `gap`, by how much cross-entropy on the test images is above that on the training images."""
    return table.assign(gap=table["loss"] - table["train_loss"])


def logged(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The table with the natural logarithm of a metric in its place."""
    return table.assign(**{metric: np.log(table[metric])})


def paired(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric by method, one column each, one row for each network, task and set of images."""
    places = [name for name in _PLACE if name in table]
    return table.pivot(index=places, columns="method", values=metric)


def difference(table: pd.DataFrame, metric: str, method: str, other: str) -> Estimate:
    """The mean difference in a metric between two methods, with Student's t interval over networks, tasks, images."""
    methods = paired(table, metric)
    return mean((methods[method] - methods[other]).to_numpy())


def across_methods(table: pd.DataFrame, metric: str = "nc1") -> Estimate:
    """Rank correlation of a metric and accuracy over methods, the mean over models and tasks; methods are resampled.

    The networks of one recipe, told apart by `seed`, are averaged first. The interval says how far ten methods decide,
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
    """By how much more it is ahead with the fewest images than with the most, of each draw."""
    few, all_ = (contrast(rows, "accuracy", "skip", "full") for rows in (fewest(table), most(table)))
    return few.assign(value=few["value"] - all_["value"])


def sensitive(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of tasks on which there is something to win."""
    return table[table["task"].isin(SENSITIVE)]


def forced(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric with collapse forced most less that without, of each network on each task."""
    values = table.pivot(index=["model", "seed", "task"], columns="collapse_tuned", values=metric)
    found = (values[FORCED[-1]] - values[0.0]).rename("value").reset_index()
    return found.assign(replicate=found["model"] + "/" + found["seed"].astype(str), panel=found["task"], contrast="")


def _not_forced(table: pd.DataFrame) -> str:
    """Why collapse was not forced: NC1 must fall by a factor of 1.5 beyond doubt."""
    fallen = summary(forced(logged(table, "nc1"), "nc1"))
    if fallen.high < -math.log(1.5):
        return ""
    low, factor, high = (f"{math.exp(each):.2f}" for each in (fallen.low, fallen.value, fallen.high))
    return f"collapse was not forced, NC1 is {factor} [{low}, {high}] times what it was"


_scl = partial(Claim, paper="li2024", study="fine_tuning")
_scarce = partial(Claim, paper="li2024", study="data_scarcity", threshold=0.0)

CLAIMS = (
    _scl(
        key="A2-methods",
        side="below",
        threshold=0.0,
        smallest=RANKS,
        kind="correlation",
        sentence="Ways of fine-tuning that collapse more on the downstream training data transfer better.",
        statistic="rank correlation of NC1 and accuracy over ten ways of fine-tuning, mean over tasks",
        replicates=_over_methods,
    ),
    _scl(
        key="A4-collapse",
        sentence="With a skip connection a layer's tuning collapses the downstream data more than without it.",
        statistic="natural logarithm of NC1 on the training images with it over that without",
        side="below",
        threshold=0.0,
        smallest=FACTOR,
        replicates=lambda table: contrast(logged(table, "nc1"), "nc1", "skip", "layer"),
    ),
    _scl(
        key="A4-skip",
        sentence="With a skip connection a layer's tuning is more accurate than without it. (Our control.)",
        statistic="its test accuracy less that of tuning the same layer without it, mean over tasks",
        side="above",
        threshold=0.0,
        smallest=POINT,
        replicates=lambda table: contrast(table, "accuracy", "skip", "layer"),
    ),
    _scl(
        key="A4-accuracy",
        sentence="It performs about as well as full fine-tuning, or better. (Our reading: at most two points worse.)",
        statistic="its test accuracy less that of full fine-tuning, on tasks where that had been four points above a "
        "linear probe's",
        side="above",
        threshold=-0.02,
        replicates=lambda table: contrast(sensitive(table), "accuracy", "skip", "full"),
        untested=lambda table: "" if len(sensitive(table)) else "a linear probe had done as well as full fine-tuning",
    ),
    _scl(
        key="A4-parameters",
        sentence="It tunes at least 90% fewer parameters. (Our reading: of the backbone's, the classifier apart.)",
        statistic="the largest share of the backbone's parameters that it trains, of all models",
        side="below",
        threshold=0.1,
        kind="exact",
        replicates=lambda table: rows_of([paired(table, "body_share")["skip"].max()]),
    ),
    _scl(
        key="A6-force",
        study="forced_collapse",
        sentence="Forcing collapse on the downstream data makes fine-tuning more accurate. (Our intervention.)",
        statistic="test accuracy of full fine-tuning with collapse forced (0.3) less that without, mean over tasks",
        side="above",
        threshold=0.0,
        smallest=POINT,
        replicates=lambda table: forced(table, "accuracy"),
        untested=_not_forced,
    ),
    _scarce(
        key="A5-gap",
        sentence="It mitigates overfitting.",
        statistic="natural logarithm of (test - training cross-entropy) with it over the same with full fine-tuning, "
        "with the fewest images",
        side="below",
        smallest=FACTOR,
        replicates=lambda table: contrast(logged(gap(fewest(table)), "gap"), "gap", "skip", "full"),
    ),
    _scarce(
        key="A5-scarce",
        sentence="It does better than full fine-tuning where data is scarce.",
        statistic="its test accuracy less that of full fine-tuning, with the fewest images",
        side="above",
        smallest=POINT,
        replicates=lambda table: contrast(fewest(table), "accuracy", "skip", "full"),
    ),
    _scarce(
        key="A5-most",
        sentence="It helps most when data is scarce.",
        statistic="by how much more it is ahead of full fine-tuning with the fewest images than with the most",
        side="above",
        smallest=POINT,
        replicates=_growth,
    ),
)

IN_POINTS = ("A4-skip", "A4-accuracy", "A6-force", "A5-scarce", "A5-most")  # claims on a difference in accuracy
STUDIES = (fine_tuning, data_scarcity, tuned_layer, forced_collapse)
LIVE: dict[str, Cell] = {
    "fine_tuning": {"method": "skip"},
    "data_scarcity": {"method": "skip"},
    "tuned_layer": {"method": "layer"},
    "forced_collapse": {"collapse_tuned": 0.1},
}
