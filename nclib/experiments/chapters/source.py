"""Chapter 2: collapse on the source data, and what transfers (Li et al. 2022, 2024)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from nclib.estimates import mean, mean_spearman
from nclib.experiments.claims import FACTOR, POINT, RANKS, Claim
from nclib.experiments.inference import rows_of
from nclib.experiments.records import Cell
from nclib.experiments.scales import check
from nclib.experiments.scales.scale import Scale
from nclib.models.recipes import Recipe

# Those of Kornblith et al. 2021, and supervised contrastive learning as published: with two views and a head.
LOSSES = (
    *("cross-entropy", "label smoothing", "dropout", "final L2", "logit penalty", "logit normalisation"),
    *("cosine softmax", "sigmoid", "squared error", "two views"),
)
STRENGTHS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # of augmentation
DEPTHS = range(7)  # of the projection head
DIAL = (-0.3, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.3, 1.0)  # what is added to the loss, times the log trace ratio
BALANCED = 4  # images of a class in a batch, where the trace ratio of a batch is dialled


Replicates = Callable[[pd.DataFrame], pd.DataFrame]  # of a study's table, for a `Claim`


def lengths(base: Recipe) -> list[int]:
    """Of training, in epochs: none to twice the base."""
    return [0, base.epochs // 16, 3 * base.epochs // 16, base.epochs // 2, base.epochs, 2 * base.epochs]


def heuristics(base: Recipe) -> dict[str, list[Recipe]]:
    """What is said to prevent collapse, one setting at a time, and lengths of training.

    All losses are given distorted images: two views of an image must differ.
    """
    distorted = replace(base, augmentation=1.0)
    return {
        "loss": [replace(distorted, loss=loss, projection=int(loss == "two views")) for loss in LOSSES],
        "projection": [replace(base, projection=depth) for depth in DEPTHS],
        "augmentation": [replace(base, augmentation=strength) for strength in STRENGTHS],
        "epochs": [replace(base, epochs=epochs) for epochs in lengths(base)],
    }


def recipes(base: Recipe) -> list[Recipe]:
    """The base, and networks that differ from it in one setting: what chapter 3 chooses among."""
    varied: dict[str, list] = {
        "epochs": lengths(base),
        "loss": ["cross-entropy", "label smoothing", "squared error", "contrastive"],
        "projection": [0, 1, 2, 3],
        "augmentation": [0.0, 0.5, 1.0, 2.0],
        "weight_decay": [0.0, 5e-4, 2e-3, 5e-3],
    }
    return list(dict.fromkeys(replace(base, **{name: v}) for name, values in varied.items() for v in values))


def source_collapse(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell, tried on the source and on all tasks; the panels it belongs to are named."""
    varied = heuristics(scale.recipe)
    networks = dict.fromkeys(recipe for panel in varied.values() for recipe in panel)
    return [
        _cell(recipe, seed, scale) | {"panels": [name for name, panel in varied.items() if recipe in panel]}
        for seed in seeds
        for recipe in networks
    ]


def collapse_dial(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell: collapse itself is forced, or prevented, and nothing else is changed."""
    base = replace(scale.recipe, balanced=BALANCED)
    return [_cell(replace(base, collapse=strength), seed, scale) for seed in seeds for strength in DIAL]


def _cell(recipe: Recipe, seed: int, scale: Scale) -> Cell:
    counts = {"train_per_class": scale.train_per_class, "test_per_class": scale.test_per_class}
    return replace(recipe, seed=seed).config | {"tasks": list(scale.tasks)} | counts


def panel(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """The networks of a panel, sorted by what it varies, with their `transfer`.

    That is the mean over the tasks of the probes' test accuracies. The dial is a study, and a panel, of its own.
    """
    rows = table[table["panels"].map(lambda panels: setting in panels)] if "panels" in table else table
    found = rows.assign(transfer=rows["accuracy"].map(np.mean), log_nc1=np.log(rows["nc1"]))
    return found.sort_values([setting, "seed"])


def _along(table: pd.DataFrame, setting: str, metric: str = "transfer") -> pd.DataFrame:
    """A metric over the panel of a setting, one row a seed, one column a value."""
    return panel(table, setting).pivot(index="seed", columns=setting, values=metric)


def contrast(values: pd.DataFrame, one: float | Sequence[float], other: float) -> pd.DataFrame:
    """Of each seed the value at one setting (or the mean over several) less that at another."""
    ahead = values[list(np.atleast_1d(one))].mean(axis=1) - values[other]
    return rows_of(ahead, replicate=ahead.index)


def peak(values: pd.DataFrame, best: float) -> pd.DataFrame:
    """Of each seed the value at a setting between the ends less that at either end."""
    ends = {"first": values.columns.min(), "last": values.columns.max()}
    return pd.concat([contrast(values, best, end).assign(contrast=name) for name, end in ends.items()])


def _at(setting: str, one: float | Sequence[float], other: float, metric: str = "transfer") -> Replicates:
    """A contrast in the panel of a setting."""
    return lambda table: contrast(_along(table, setting, metric), one, other)


def _at_best(setting: str, chosen: Mapping[str, float]) -> Replicates:
    """A peak in the panel of a setting, where it was chosen to be for the table's source."""
    return lambda table: peak(_along(table, setting), chosen[table["source"].iloc[0]])


def _unprevented(setting: str, one: float | Sequence[float], other: float) -> Callable[[pd.DataFrame], str]:
    """Why collapse was not prevented: NC1 must rise by a factor of 1.5 beyond doubt."""

    def why(table: pd.DataFrame) -> str:
        risen = mean(_at(setting, one, other, "log_nc1")(table)["value"].to_numpy())
        if risen.low > math.log(1.5):
            return ""
        low, factor, high = (f"{math.exp(each):.2f}" for each in (risen.low, risen.value, risen.high))
        return f"collapse was not prevented: NC1 is {factor} [{low}, {high}] times what it was"

    return why


def over_losses(table: pd.DataFrame, metric: str = "nc1") -> pd.DataFrame:
    """Rank correlation over the losses of a metric and transfer, of each seed."""
    rows = panel(table, "loss").groupby("seed")[[metric, "transfer"]]
    found = rows.apply(lambda each: mean_spearman(*each.to_numpy().T))
    return rows_of(found, replicate=found.index)


_li = partial(Claim, paper="li2022", study="source_collapse", side="above", threshold=0.0, smallest=POINT)
_dial = partial(_li, study="collapse_dial")
_TRANSFER = "mean accuracy of linear probes on the tasks, {}"

# Where transfer is best between the ends, chosen on the seeds of exploration, by source.
BEST_DIAL = {"glyphs/latin": 0.05, "fashion-mnist": 0.0}
BEST_LENGTH = {"glyphs/latin": 16, "fashion-mnist": 3}

CLAIMS = (
    _dial(
        key="A1-dial",
        sentence="Preventing collapse on the source transfers better. (Our intervention: a penalty on collapse alone.)",
        statistic=_TRANSFER.format("with collapse prevented (-0.1) less that without a penalty"),
        replicates=_at("collapse", -0.1, 0.0),
        untested=_unprevented("collapse", -0.1, 0.0),
    ),
    _dial(
        key="A1-force",
        sentence="Forcing collapse on the source costs transfer. (Our intervention.)",
        statistic=_TRANSFER.format("without a penalty less that with collapse forced (1)"),
        replicates=_at("collapse", 0.0, 1.0),
    ),
    _dial(
        key="A1-extent",
        sentence="Preventing collapse helps to a certain extent. (Our reading: the best lies between the extremes.)",
        statistic=_TRANSFER.format("at the best penalty between the ends less that at either end"),
        replicates=_at_best("collapse", BEST_DIAL),
    ),
    _li(
        key="A1-loss",
        sentence="Losses that prevent collapse on the source transfer better.",
        statistic="rank correlation of source NC1 and downstream accuracy over ten losses",
        smallest=RANKS,
        kind="correlation",
        replicates=over_losses,
    ),
    _li(
        key="A1-projection",
        sentence="Projection heads, which prevent collapse of the features on the source, transfer better.",
        statistic=_TRANSFER.format("with heads of 1 to 6 layers, on average, less that with none"),
        replicates=_at("projection", DEPTHS[1:], 0),
        untested=_unprevented("projection", DEPTHS[1:], 0),
    ),
    _li(
        key="A1-augmentation",
        sentence="Data augmentation, which prevents collapse on the source, transfers better.",
        statistic=_TRANSFER.format("with augmentation of strength 1 less that with none"),
        replicates=_at("augmentation", 1.0, 0.0),
    ),
    _li(
        key="A1-mechanism",
        sentence="Data augmentation prevents collapse on the source.",
        statistic="natural logarithm of source NC1 with augmentation of strength 1 over that with none",
        smallest=FACTOR,
        replicates=_at("augmentation", 1.0, 0.0, "log_nc1"),
    ),
    _li(
        key="A3",
        paper="li2024",
        sentence="The relation is more nuanced than one direction. (Our case: the longer a network is trained the more "
        "it collapses; transfer first rises, then falls.)",
        statistic=_TRANSFER.format("at the best length of training less that of none, and less that of the longest"),
        replicates=_at_best("epochs", BEST_LENGTH),
    ),
)

STUDIES = (source_collapse, collapse_dial)
LIVE: dict[str, Cell] = {
    "source_collapse": {"epochs": check.SCALE.recipe.epochs, "loss": "cross-entropy"},
    "collapse_dial": {"collapse": 0.1},
}
