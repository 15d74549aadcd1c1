"""Statistics and claims of choosing a pre-trained model: scores held against accuracy after fine-tuning."""

import math
from collections.abc import Iterable
from functools import partial

import numpy as np
import pandas as pd
import torch

from nclib.claims import Claim, Estimate, rank_correlation, times_drawn
from nclib.transferability import over_models

# Estimators that were published before FaCe, and are held against it.
EARLIER = ("leep", "nce", "nleep", "h_score", "h_score_shrunk", "logme", "gbc", "transrate", "sfda", "vci")

# Parts that are summed over the models of a zoo, each brought to [0, 1]: the scores of its models among each other.
SUMS = {
    "face": ("variance_collapse", "class_fairness"),
    "face, temperature 0.005": ("variance_collapse", "class_fairness_sharp"),
    "face, temperature 0.5": ("variance_collapse", "class_fairness_soft"),
    "face, diagonal": ("variance_collapse", "class_fairness_diagonal"),
    "ncti": ("ncti_spread", "ncti_certainty", "ncti_collapse"),
}
_LOWER = ("cdnv", "vci")  # better where lower


def in_zoos(table: pd.DataFrame) -> pd.DataFrame:
    """One row a model, task and zoo: its `zoo`, and the scores that are sums over the models of a zoo on a task."""
    rows = table.explode("zoos").rename(columns={"zoos": "zoo"})
    fair = {name.replace("un", "", 1): 1 - rows[name] for name in rows if name.startswith("class_unfairness")}
    rows = rows.assign(**fair)
    return pd.concat([_with_sums(group) for _, group in rows.groupby(["zoo", "task"], sort=False)], ignore_index=True)


def _with_sums(group: pd.DataFrame) -> pd.DataFrame:
    sums = {name: _brought(group, parts).sum(1) for name, parts in SUMS.items() if set(parts) <= set(group)}
    if {"face"} <= sums.keys():
        parts = group[[*SUMS["face"]]]
        sums["face, z-scores"] = ((parts - parts.mean()) / parts.std()).sum(axis=1).to_numpy()
    return group.assign(**sums)


def _brought(group: pd.DataFrame, parts: Iterable[str]) -> np.ndarray:
    return over_models(torch.tensor(group[[*parts]].to_numpy(dtype=float))).numpy()


def weighted_tau(x: np.ndarray, y: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    """Weighted Kendall tau of x (n,) and y (n,) with each entry so many times, (resamples, n); (resamples,).

    As `scipy.stats.weightedtau` with its defaults, of the repeated entries: pairs weigh by the sum of 1 / (1 + rank),
    the highest values first, by x and by y in turn, so the top counts most. NaN where a side is constant.
    """
    times = np.ones((1, len(x)), dtype=int) if times is None else times
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, times.sum(1).max() + 1))])
    signs = [np.sign(side[:, None] - side) for side in (x, y)]
    halves = []
    for first, second in ((x, y), (y, x)):
        order = np.lexsort((second, first))[::-1]
        after = times[:, order].cumsum(1)[:, np.argsort(order)]
        weights = harmonic[after] - harmonic[after - times]  # of an entry, over its repetitions
        both, *each = (((weights @ product) * times).sum(1) for product in _products(*signs))
        scale = np.sqrt(each[0] * each[1])
        halves.append(np.divide(both, scale, out=np.full(len(scale), math.nan), where=scale > 0))
    return (halves[0] + halves[1]) / 2


def _products(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return x * y, x * x, y * y


def taus(rows: pd.DataFrame, score: str) -> np.ndarray:
    """Weighted tau of a score and accuracy, the mean over the tasks of each zoo and the zoos: of all, then resampled.

    The resamples are of the models of a zoo, with all their seeds and tasks, and the same for every score. Models that
    do not have the score are left out.
    """
    return np.mean([_of_zoo(group, score) for _, group in rows.groupby("zoo", sort=False)], axis=0)


def _of_zoo(rows: pd.DataFrame, score: str) -> np.ndarray:
    codes, names = pd.factorize(rows["model"])
    drawn = times_drawn(len(names), np.random.default_rng(0))
    times = np.vstack([np.ones(len(names), dtype=int), drawn])[:, codes]
    known = rows[score].notna().to_numpy()
    by_task = [np.flatnonzero(known & (rows["task"] == task)) for task in rows["task"].unique()]
    sign = -1 if score in _LOWER else 1
    x, y = sign * rows[score].to_numpy(dtype=float), rows["accuracy"].to_numpy()
    found = [weighted_tau(x[part], y[part], times[:, part]) for part in by_task if len(part)]
    return np.mean(found, axis=0) if found else np.full(len(times), math.nan)


def estimate(draws: np.ndarray) -> Estimate:
    """The first of the draws, and the interval of the others."""
    if np.isnan(draws[0]) or np.isnan(draws[1:]).all():
        return Estimate(float(draws[0]))
    low, high = np.nanpercentile(draws[1:], [2.5, 97.5])
    return Estimate(float(draws[0]), float(low), float(high))


def ranks(rows: pd.DataFrame, score: str = "face") -> Estimate:
    """Weighted tau of a score and accuracy after fine-tuning; see `taus`."""
    return estimate(taus(rows, score))


def advantage(rows: pd.DataFrame, rivals: Iterable[str] = EARLIER, score: str = "face") -> Estimate:
    """By how much a score ranks better than the best of its rivals."""
    others = np.array([taus(rows, rival) for rival in rivals if rival in rows])
    others = others[~np.isnan(others[:, 0])]
    return estimate(taus(rows, score) - np.fmax.reduce(others))


def regret(rows: pd.DataFrame, score: str) -> float:
    """Accuracy lost by fine-tuning the model of the best score in place of the best model, mean over zoos and tasks."""
    sign = -1 if score in _LOWER else 1
    known = rows[rows[score].notna()]
    lost = [
        group["accuracy"].max() - group["accuracy"].loc[(sign * group[score]).idxmax()]
        for _, group in known.groupby(["zoo", "task"])
    ]
    return float(np.mean(lost))


def before_and_after(rows: pd.DataFrame) -> Estimate:
    """Rank correlation of NC1 on the training images before and after fine-tuning, over models: mean of tasks, zoos."""
    rows = rows.dropna(subset="nc1_tuned") if "nc1_tuned" in rows else rows.iloc[:0]
    if not len(rows):
        return Estimate(math.nan)
    before, after = -rows["variance_collapse"].to_numpy(), rows["nc1_tuned"].to_numpy()
    return rank_correlation(before, after, rows["model"].to_numpy(), strata=rows["zoo"], blocks=rows["task"])


def of_zoo(table: pd.DataFrame, zoo: str) -> pd.DataFrame:
    """The rows of one zoo, or of all whose title has the words."""
    rows = in_zoos(table)
    return rows[rows["zoo"].str.contains(zoo)]


def _better(table: pd.DataFrame, zoo: str) -> Estimate:
    rows = of_zoo(table, zoo)
    return advantage(rows) if len(rows) else Estimate(math.nan)


_ding = partial(Claim, paper="ding2023", side="above", study="model_selection")
_TAU = "weighted Kendall tau of FaCe and {} after fine-tuning, mean over tasks and zoos"

CLAIMS = (
    _ding(
        key="C1",
        sentence="Collapse on the target data before fine-tuning correlates strongly with collapse after it.",
        statistic="rank correlation over models of NC1 before and after fine-tuning, mean over tasks and zoos",
        threshold=0.5,  # what is usually called a strong correlation
        estimate=lambda table: before_and_after(in_zoos(table)),
    ),
    _ding(
        key="C2-ranks",
        sentence="FaCe ranks pre-trained models for a target task.",
        statistic=_TAU.format("accuracy"),
        threshold=0.0,
        estimate=lambda table: ranks(in_zoos(table)),
    ),
    *(
        _ding(
            key=f"C2-{key}",
            sentence=f"FaCe ranks better than earlier estimators over {zoo}.",
            statistic="weighted Kendall tau of FaCe less that of the best of ten earlier estimators, mean over tasks",
            threshold=0.0,
            estimate=partial(_better, zoo=zoo),
        )
        for key, zoo in (
            ("architectures", "architectures"),
            ("sources", "source data sets"),
            ("losses", "losses"),
        )
    ),
    *(
        _ding(
            key=f"C3-{kind}",
            sentence=f"FaCe ranks pre-trained models for {words}, too.",
            study=study,
            statistic=_TAU.format(quality),
            threshold=0.0,
            estimate=lambda table: ranks(in_zoos(table)),
        )
        for kind, words, study, quality in (
            ("pixels", "semantic segmentation", "scene_selection", "mean intersection over union"),
            ("words", "text classification", "text_selection", "accuracy"),
        )
    ),
)
