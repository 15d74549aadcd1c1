"""Chapter 2: collapse on the source data, and what transfers (Li et al. 2022, 2024)."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from nclib.estimates import Estimate, bootstrap, rank_correlation
from nclib.experiments.cells import recipe_columns
from nclib.experiments.claims import Claim
from nclib.experiments.records import Cell
from nclib.experiments.scales import check
from nclib.experiments.scales.scale import Scale
from nclib.models.recipes import Recipe


def varied(base: Recipe) -> dict[str, list]:
    """What the source-collapse study varies, one setting at a time, and to which values."""
    return {
        "epochs": [0, base.epochs // 16, 3 * base.epochs // 16, base.epochs // 2, base.epochs, 2 * base.epochs],
        "loss": ["cross-entropy", "label smoothing", "squared error", "contrastive"],
        "projection": [0, 1, 2, 3],
        "augmentation": [0.0, 0.5, 1.0, 2.0],
        "weight_decay": [0.0, 5e-4, 2e-3, 5e-3],
    }


def recipes(base: Recipe) -> list[Recipe]:
    """The base recipe and all that differ from it in one setting."""
    return list(dict.fromkeys(replace(base, **{name: v}) for name, values in varied(base).items() for v in values))


def source_collapse(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """One network on one task a cell: every varied recipe and seed, on the source and the downstream tasks."""
    counts = {"train_per_class": scale.train_per_class, "test_per_class": scale.test_per_class}
    return [
        replace(recipe, seed=seed).config | {"task": task} | counts
        for recipe in recipes(scale.recipe)
        for seed in seeds
        for task in (scale.recipe.source, *scale.tasks)
    ]


def networks(table: pd.DataFrame) -> pd.DataFrame:
    """One row a network of the source-collapse study: its recipe, seed, source metrics and `transfer`.

    `transfer` is the probe's test accuracy, averaged over the downstream tasks.
    """
    network = pd.Series(map(str, table[recipe_columns(table)].itertuples(index=False)), index=table.index)
    is_source = table["task"] == table["source"]
    transfer = table[~is_source].groupby(network)["accuracy"].mean()
    return table[is_source].assign(transfer=network[is_source].map(transfer))


def panel(nets: pd.DataFrame, setting: str) -> pd.DataFrame:
    """The networks that differ from the base recipe in no setting but this one (and the seed), sorted by it.

    The base has the most frequent value of every setting: each panel of the study varies one and keeps
    the others.
    """
    fixed = [name for name in recipe_columns(nets) if name not in (setting, "seed")]
    base = nets[fixed].mode(dropna=False).iloc[0]
    same = (nets[fixed].eq(base) | nets[fixed].isna() & base.isna()).all(axis=1)
    return nets[same].sort_values([setting, "seed"])


def correlation(nets: pd.DataFrame, setting: str, accuracy: str = "transfer") -> Estimate:
    """Rank correlation of source NC1 and an accuracy over the panel of a setting, by groups of one value."""
    rows = panel(nets, setting)
    return rank_correlation(rows["nc1"].to_numpy(), rows[accuracy].to_numpy(), rows[setting].to_numpy())


def _correlation_over(setting: str) -> Callable[[pd.DataFrame], Estimate]:
    return lambda table: correlation(networks(table), setting)


def fully_trained(nets: pd.DataFrame) -> pd.DataFrame:
    """The networks that were trained as long as the base: what differs is how, not how far."""
    return nets[nets["epochs"] == nets["epochs"].mode()[0]]


def thirds(nc1: np.ndarray) -> list[np.ndarray]:
    """Indices of the networks in three equal parts by source NC1 (n,), the most collapsed first."""
    return np.array_split(np.argsort(nc1, kind="stable"), 3)


def _middle_third(table: pd.DataFrame) -> Estimate:
    """Mean transfer of the middle third of the networks by source NC1, less that of the better outer third."""

    def ahead(nc1: np.ndarray, transfer: np.ndarray) -> float:
        low, middle, high = (transfer[third].mean() for third in thirds(nc1))
        return float(middle - max(low, high))

    nets = fully_trained(networks(table))
    settings = nets[[name for name in recipe_columns(nets) if name != "seed"]].astype(str).agg("|".join, axis=1)
    return bootstrap(ahead, nets["nc1"].to_numpy(), nets["transfer"].to_numpy(), groups=settings.to_numpy())


_li_2023 = partial(Claim, paper="li2022", study="source_collapse", side="above", threshold=0.0)
_OVER = "rank correlation of source NC1 and downstream accuracy over {}"

CLAIMS = (
    *(
        _li_2023(
            key=f"A1-{setting}",
            sentence=sentence,
            statistic=_OVER.format(values),
            estimate=_correlation_over(setting),
        )
        for setting, values, sentence in (
            ("loss", "losses", "Losses that prevent collapse on the source transfer better."),
            (
                "projection",
                "0 to 3 layers of projection head",
                "Projection heads, which prevent collapse of the features on the source, transfer better.",
            ),
            (
                "augmentation",
                "strengths of augmentation",
                "Data augmentation, which prevents collapse on the source, transfers better.",
            ),
        )
    ),
    _li_2023(
        key="A1-extent",
        sentence="Preventing collapse helps to a certain extent. (Our reading: the best lies between the extremes.)",
        statistic="of the fully trained: accuracy of the middle third by source NC1, less that of the better outer one",
        estimate=_middle_third,
    ),
    Claim(
        key="A3",
        paper="li2024",
        sentence="The relation is more nuanced than one direction. (Our case: barely trained networks.)",
        study="source_collapse",
        statistic=_OVER.format("lengths of training"),
        side="below",
        threshold=0.0,
        estimate=_correlation_over("epochs"),
    ),
)

STUDIES = (source_collapse,)
LIVE: dict[str, Cell] = {"source_collapse": {"task": "digits", "epochs": check.SCALE.recipe.epochs}}
