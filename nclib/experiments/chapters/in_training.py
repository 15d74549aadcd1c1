"""Chapter 1: a network is watched while it collapses (Papyan et al. 2020)."""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from nclib.estimates import Estimate, mean
from nclib.experiments.claims import Claim
from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import Scale


def collapse_in_training(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network a cell, trained long, with the epochs and classes that are pictured."""
    epochs = 5 * scale.recipe.epochs // 2
    recipe = replace(scale.recipe, epochs=epochs, weight_decay=2e-3, schedule="cosine")
    more = {
        "test_per_class": scale.test_per_class,
        "pictured_epochs": [0, 4, epochs // 2, epochs],
        "pictured_classes": [0, 1, 2],
    }
    return [replace(recipe, seed=seed).config | more for seed in seeds]


def zero_error_index(errors: list[float]) -> int | None:
    """Index of the first measured epoch from which on there is no training error; None if it ends with one."""
    if errors[-1] > 0:
        return None
    return max((i + 1 for i, error in enumerate(errors) if error > 0), default=0)


def _past_zero_error(table: pd.DataFrame, metric: str) -> Estimate:
    """The metric at the end of training over its value when the last training error was gone."""
    pairs = zip(map(zero_error_index, table["train_error"]), table[metric], strict=True)
    return mean(np.array([math.nan if start is None else values[-1] / values[start] for start, values in pairs]))


_papyan = partial(Claim, paper="papyan2020", study="collapse_in_training", side="below")

CLAIMS = (
    *(
        _papyan(
            key=f"P{metric[-1]}",
            sentence=f"Past zero training error {sentence}.",
            statistic=f"{metric.upper()} at the end over {metric.upper()} when the last training error is gone",
            threshold=1.0,
            estimate=partial(_past_zero_error, metric=metric),
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
        statistic="share of the training images on which the two disagree, at the end",
        threshold=0.01,
        estimate=lambda table: mean(1 - table["nc4"].str[-1].to_numpy()),
    ),
)

STUDIES = (collapse_in_training,)
LIVE: dict[str, Cell] = {"collapse_in_training": {}}
