"""Chapter 2: collapse on the source data, and what transfers (Li et al. 2022, 2024)."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from nclib.experiments.claims import FACTOR, POINT, Claim, Verdict, judge
from nclib.experiments.inference import by_panel, rows_of
from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import Scale, Source
from nclib.models.recipes import Recipe

# Those of Kornblith et al. 2021, and supervised contrastive learning as published: with two views and a head.
LOSSES = (
    *("cross-entropy", "label smoothing", "dropout", "final L2", "logit penalty", "logit normalisation"),
    *("cosine softmax", "sigmoid", "squared error", "two views"),
)
STRENGTHS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # of augmentation
DEPTHS = range(7)  # of the projection head
# What is added to the loss, times the logarithm of the trace ratio. At 1 the class means fall together, and source
# accuracy falls.
DIAL = (-0.3, -0.2, -0.1, -0.05, 0.0, 0.02, 0.05, 0.1, 0.3)
BALANCED = 4  # images of a class in a batch, where the trace ratio of a batch is dialled
ELSEWHERE = ("collapse", "epochs")  # the panels of other sources than a scale's own


Replicates = Callable[[pd.DataFrame], pd.DataFrame]  # of a study's table, for a `Claim`


def lengths(base: Recipe) -> list[int]:
    """Of training, in epochs: none to twice the base."""
    return [0, base.epochs // 16, 3 * base.epochs // 16, base.epochs // 2, base.epochs, 2 * base.epochs]


def panels(base: Recipe) -> dict[str, list[Recipe]]:
    """Networks by the one setting that they differ in: what is said to prevent collapse, and collapse itself.

    All losses are given distorted images: two views of an image must differ.
    """
    distorted, equally = replace(base, augmentation=1.0), replace(base, balanced=BALANCED)
    return {
        "loss": [replace(distorted, loss=loss, projection=int(loss == "two views")) for loss in LOSSES],
        "projection": [replace(base, projection=depth) for depth in DEPTHS],
        "augmentation": [replace(base, augmentation=strength) for strength in STRENGTHS],
        "epochs": [replace(base, epochs=epochs) for epochs in lengths(base)],
        "collapse": [replace(equally, collapse=strength) for strength in DIAL],
    }


def recipes(base: Recipe) -> list[Recipe]:
    """The base, and networks that differ from it in one setting: what chapter 4 chooses among."""
    varied: dict[str, list] = {
        "epochs": lengths(base),
        "loss": ["cross-entropy", "label smoothing", "squared error", "contrastive"],
        "projection": [0, 1, 2, 3],
        "augmentation": [0.0, 0.5, 1.0, 2.0],
        "weight_decay": [0.0, 5e-4, 2e-3, 5e-3],
    }
    return list(dict.fromkeys(replace(base, **{name: v}) for name, values in varied.items() for v in values))


def source_collapse(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell, tried on its source and on all tasks; the panels it belongs to are named.

    On other sources than the scale's own, only collapse itself and the length of training are varied.
    """
    own = Source(scale.recipe, scale.tasks, scale.train_per_class, scale.test_per_class)
    varied = [(own, panels(own.recipe))]
    for other in scale.other_sources:
        varied.append((other, {name: panels(other.recipe)[name] for name in ELSEWHERE}))
    return [cell for seed in seeds for each in varied for cell in _cells(*each, seed)]


def _cells(source: Source, varied: Mapping[str, Sequence[Recipe]], seed: int) -> Iterator[Cell]:
    counts = {"train_per_class": source.train_per_class, "test_per_class": source.test_per_class}
    for recipe in dict.fromkeys(recipe for panel in varied.values() for recipe in panel):
        of = [name for name, panel in varied.items() if recipe in panel]
        yield replace(recipe, seed=seed).config | {"tasks": list(source.tasks), "panels": of} | counts


def panel(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """The networks of a panel, sorted by what it varies, with their `transfer`.

    That is the mean over the tasks of the probes' test accuracies.
    """
    rows = table[table["panels"].map(lambda names: setting in names)]
    logs = {f"log_{name}": np.log(rows[name]) for name in ("nc1", "nc1_ratio", "cdnv") if name in rows}
    found = rows.assign(transfer=rows["accuracy"].map(np.mean), **logs)
    return found.sort_values(["source", setting, "seed"])


def by_source(table: pd.DataFrame, setting: str) -> dict[str, pd.DataFrame]:
    """The `panel` of each source."""
    return {str(source): rows for source, rows in panel(table, setting).groupby("source", sort=False)}


def _along(rows: pd.DataFrame, setting: str, metric: str = "transfer") -> pd.DataFrame:
    """A metric over the panel of a setting, one row a seed, one column a value."""
    return rows.pivot(index="seed", columns=setting, values=metric)


def contrast(values: pd.DataFrame, one: float | Sequence[float], other: float) -> pd.Series:
    """Of each seed the value at one setting (or the mean over several) less that at another."""
    return values[list(np.atleast_1d(one))].mean(axis=1) - values[other]


def _of_sources(found: Mapping[str, pd.Series], **columns: object) -> pd.DataFrame:
    """Rows of what was found of the seeds of each source: panels, each with networks of its own."""
    parts = [
        rows_of(each, replicate=[f"{source}, {seed}" for seed in each.index], panel=source, **columns)
        for source, each in found.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _at(setting: str, one: float | Sequence[float], other: float, metric: str = "transfer") -> Replicates:
    """A contrast in the panel of a setting."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        along = {name: _along(each, setting, metric) for name, each in by_source(table, setting).items()}
        return _of_sources({name: contrast(values, one, other) for name, values in along.items()})

    return rows


def _at_best(setting: str, chosen: Mapping[str, float]) -> Replicates:
    """The best value of a panel's setting between the ends, less either end.

    It was `chosen` for a source; of one that nothing was chosen for it is the middle.
    """

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        along = {name: _along(each, setting) for name, each in by_source(table, setting).items()}
        first, last = (
            {
                name: contrast(values, chosen.get(name, values.columns[len(values.columns) // 2]), values.columns[end])
                for name, values in along.items()
            }
            for end in (0, -1)
        )
        return pd.concat([_of_sources(first, contrast="first"), _of_sources(last, contrast="last")])

    return rows


def _unprevented(
    setting: str, one: float | Sequence[float], other: float, metric: str = "log_nc1"
) -> Callable[[pd.DataFrame], str]:
    """Why collapse was not prevented: NC1 must rise by a factor of 1.5 beyond doubt, of every source."""
    name = {"log_nc1": "NC1", "log_nc1_ratio": "the trace ratio"}[metric]

    def why(table: pd.DataFrame) -> str:
        for source, risen in by_panel(_at(setting, one, other, metric)(table)).items():
            if risen.low <= math.log(1.5):  # what is undefined is said to be, and not to be untested
                low, factor, high = (f"{math.exp(each):.2f}" for each in (risen.low, risen.value, risen.high))
                return f"{source}: collapse was not prevented, {name} is {factor} [{low}, {high}] times what it was"
        return ""

    return why


def over_losses(table: pd.DataFrame, metric: str = "nc1") -> pd.DataFrame:
    """Of each seed what transfer gains over the losses for each doubling of a metric: the slope of a line."""
    rows = panel(table, "loss").groupby("seed")
    slopes = {seed: np.polyfit(np.log2(each[metric]), each["transfer"], 1)[0] for seed, each in rows}
    return rows_of(list(slopes.values()), replicate=list(slopes))


def unexplained(table: pd.DataFrame, strength: float = 1.0, metric: str = "log_nc1_ratio") -> pd.DataFrame:
    """Of each seed the gain from augmentation less that of dialling its network to the same trace ratio.

    The curve of transfer against the logarithm of the trace ratio (or another metric) is that of the dial,
    interpolated; beyond its ends it stays level.
    """
    augmented = panel(table, "augmentation")
    dialled = by_source(table, "collapse")[augmented["source"].iloc[0]].sort_values(metric)
    dial = dict(list(dialled.groupby("seed")))
    gains = {}
    for seed, rows in augmented.groupby("seed"):
        ends = rows.set_index("augmentation").loc[[0.0, strength]]
        alone = np.interp(ends[metric], dial[seed][metric], dial[seed]["transfer"])
        gains[seed] = np.diff(ends["transfer"]).item() - np.diff(alone).item()
    return rows_of(list(gains.values()), replicate=list(gains))


_li = partial(Claim, paper="li2022", study="source_collapse", side="above", threshold=0.0, smallest=POINT)
_TRANSFER = "mean accuracy of linear probes on the tasks, {}"

# Where transfer is best between the ends, chosen on the seeds of exploration, by source.
BEST_DIAL = {"glyphs/latin": 0.05, "fashion-mnist": 0.0, "folder:cifar10": -0.1}
BEST_LENGTH = {"glyphs/latin": 16, "fashion-mnist": 3, "folder:cifar10": 3}

CLAIMS = (
    _li(
        key="A1-dial",
        sentence="Preventing collapse on the source transfers better. (Our intervention: a penalty on collapse alone.)",
        statistic=_TRANSFER.format("with collapse prevented (-0.1) less that without a penalty"),
        replicates=_at("collapse", -0.1, 0.0),
        untested=_unprevented("collapse", -0.1, 0.0),
    ),
    _li(
        key="A1-force",
        sentence="Forcing collapse on the source costs transfer. (Our intervention.)",
        statistic=_TRANSFER.format("without a penalty less that with collapse forced (0.3)"),
        replicates=_at("collapse", 0.0, 0.3),
    ),
    _li(
        key="A1-extent",
        sentence="Preventing collapse helps to a certain extent. (Our reading: the best lies between the extremes.)",
        statistic=_TRANSFER.format("at the best penalty between the ends less that at either end"),
        replicates=_at_best("collapse", BEST_DIAL),
    ),
    _li(
        key="A1-loss",
        sentence="Losses that prevent collapse on the source transfer better.",
        statistic=_TRANSFER.format("gained for each doubling of source NC1, over ten losses"),
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
        key="A1-mediation",
        sentence="Data augmentation transfers better because it prevents collapse. (Our reading: no better than a "
        "network whose collapse alone was changed as much.)",
        statistic=_TRANSFER.format(
            "the gain from augmentation of strength 1 less that from dialling to its trace ratio"
        ),
        side="below",
        threshold=POINT,
        smallest=None,
        replicates=unexplained,
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


def _without(loss: str) -> Replicates:
    """The slope over nine of the losses."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        return over_losses(table[(table["loss"] != loss) | table["panels"].map(lambda names: "loss" not in names)])

    return rows


Other = dict[str, Any]  # what a claim might have had in place of its own


def _elsewhere(setting: str, best: Mapping[str, float], values: Callable[[str], Sequence[float]]) -> Iterator[tuple]:
    """The best between the ends at any other value, of one source after another; by what is said of it."""
    for source, chosen in best.items():
        for value in values(source):
            if value != chosen:
                yield f"{source}: best at {value:g}", {"replicates": _at_best(setting, {**best, source: value})}


def _lengths_between(source: str) -> list[int]:
    """All between the ends; the base has 16 epochs at either scale."""
    return lengths(Recipe(epochs=16))[1:-1]


_OTHERS: dict[str, dict[str, Other]] = {
    "A1-dial": {
        f"penalty {value:g}": {
            "replicates": _at("collapse", value, 0.0),
            "untested": _unprevented("collapse", value, 0.0),
        }
        for value in DIAL
        if value < 0 and value != -0.1
    },
    "A1-force": {f"penalty {value:g}": {"replicates": _at("collapse", 0.0, value)} for value in DIAL[:-1] if value > 0},
    "A1-extent": dict(_elsewhere("collapse", BEST_DIAL, lambda source: DIAL[1:-1])),
    "A1-loss": {
        "trace ratio": {"replicates": partial(over_losses, metric="nc1_ratio")},
        "CDNV": {"replicates": partial(over_losses, metric="cdnv")},
        **{f"without {loss}": {"replicates": _without(loss)} for loss in LOSSES},
    },
    "A1-projection": {
        "prevented by the trace ratio": {"untested": _unprevented("projection", DEPTHS[1:], 0, "log_nc1_ratio")},
        **{
            f"depth {depth}": {
                "replicates": _at("projection", depth, 0),
                "untested": _unprevented("projection", depth, 0),
            }
            for depth in DEPTHS[1:]
        },
    },
    "A1-augmentation": {
        "only if it prevents collapse": {"untested": _unprevented("augmentation", 1.0, 0.0)},
        **{
            f"strength {each:g}": {"replicates": _at("augmentation", each, 0.0)}
            for each in STRENGTHS
            if each not in (0.0, 1.0)
        },
    },
    "A1-mechanism": {
        "trace ratio": {"replicates": _at("augmentation", 1.0, 0.0, "log_nc1_ratio")},
        "CDNV": {"replicates": _at("augmentation", 1.0, 0.0, "log_cdnv")},
    },
    "A1-mediation": {
        "NC1": {"replicates": partial(unexplained, metric="log_nc1")},
        "strength 2": {"replicates": partial(unexplained, strength=2.0)},
        "strength 2, NC1": {"replicates": partial(unexplained, strength=2.0, metric="log_nc1")},
    },
    "A3": dict(_elsewhere("epochs", BEST_LENGTH, _lengths_between)),
}
CHOICES = {(key, choice): other for key, others in _OTHERS.items() for choice, other in others.items()}


def other_choices(table: pd.DataFrame) -> dict[tuple[str, str], tuple[Verdict, Verdict]]:
    """The verdict of a claim as it is, and with each of the other `CHOICES`, by claim and choice.

    Choices for a source that the table has not are left out.
    """
    claims, sources = {claim.key: claim for claim in CLAIMS}, set(table["source"])
    ours = {key: judge(claims[key], table) for key in _OTHERS}
    return {
        (key, choice): (ours[key], judge(replace(claims[key], **other), table))
        for (key, choice), other in CHOICES.items()
        if ": best at " not in choice or choice.partition(": best at ")[0] in sources
    }


STUDIES = (source_collapse,)
LIVE: dict[str, Cell] = {"source_collapse": {"collapse": 0.1}}
