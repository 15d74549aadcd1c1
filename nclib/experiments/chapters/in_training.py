"""Chapter 1: a network is watched while it collapses (Papyan et al. 2020)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd

from nclib.experiments.claims import FACTOR, Claim
from nclib.experiments.inference import rows_of
from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import Scale


def collapse_in_training(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell, trained long, with the epochs and classes that are pictured."""
    epochs = scale.watched
    recipe = replace(scale.recipe, epochs=epochs, weight_decay=2e-3, schedule="cosine")
    more = {
        "test_per_class": scale.test_per_class,
        "pictured_epochs": [0, 4, epochs // 2, epochs],
        "pictured_classes": [0, 1, 2],
    }
    return [replace(recipe, seed=seed).config | more for seed in seeds]


TERMINAL = 0.001  # training error, from which on the terminal phase is counted: 99.9% accuracy


def phase_start(errors: Sequence[float], terminal: float = TERMINAL) -> int | None:
    """Index of the first measured epoch with a training error of at most `terminal`; None if there is none."""
    return next((i for i, error in enumerate(errors) if error <= terminal), None)


def gone_on(table: pd.DataFrame, metric: str, terminal: float = TERMINAL) -> pd.DataFrame:
    """Of each network the logarithm of a metric at the end over its value when the terminal phase began.

    Undefined (NaN) for a network that does not come to that phase.
    """
    starts = [phase_start(errors, terminal) for errors in table["train_error"]]
    pairs = zip(starts, table[metric], strict=True)
    return rows_of([math.nan if start is None else math.log(curve[-1] / curve[start]) for start, curve in pairs])


_papyan = partial(Claim, paper="papyan2020", study="collapse_in_training", side="below")

CLAIMS = (
    *(
        _papyan(
            key=f"P{metric[-1]}",
            sentence=f"In the terminal phase of training {sentence}.",
            statistic=f"natural logarithm of {metric.upper()} at the end over {metric.upper()} when the phase begins",
            threshold=0.0,
            smallest=FACTOR,
            replicates=partial(gone_on, metric=metric),
        )
        for metric, sentence in (
            ("nc1", "the features of a class go on contracting to their mean"),
            ("nc2", "the class means go on towards a simplex"),
            ("nc3", "classifier and class means go on aligning"),
        )
    ),
    _papyan(
        key="P4",
        sentence="In the end the classifier decides for the nearest class mean.",
        statistic="share of the training images on which the two disagree, at the end, the largest of all networks",
        threshold=0.01,
        kind="exact",
        replicates=lambda table: rows_of([(1 - table["nc4"].str[-1]).max()]),
    ),
)

STUDIES = (collapse_in_training,)
LIVE: dict[str, Cell] = {"collapse_in_training": {}}
