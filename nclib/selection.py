"""Statistics and claims of choosing a pre-trained model: scores held against accuracy after fine-tuning."""

import math
from collections.abc import Iterable
from functools import partial

import numpy as np
import pandas as pd
import torch

from nclib.claims import Claim, Estimate, rank_correlation, times_drawn
from nclib.scores import OVER_MODELS, higher_is_better
from nclib.transferability import over_models

# Estimators that were published before FaCe, and are held against it.
EARLIER = ("leep", "nce", "nleep", "h_score", "h_score_shrunk", "logme", "gbc", "transrate", "sfda", "vci")

# Scores in the order of the book's tables, and what they are called there.
LABELS = {
    "face": "FaCe",
    "variance_collapse": "variance collapse (-NC1)",
    "class_fairness": "class fairness",
    "leep": "LEEP",
    "nce": "NCE",
    "nleep": "N-LEEP",
    "logme": "LogME",
    "h_score": "H-score",
    "h_score_shrunk": "H-score, shrunk",
    "gbc": "GBC",
    "transrate": "TransRate",
    "sfda": "SFDA",
    "ncti": "NCTI",
    "vci": "VCI",
    "cdnv": "CDNV",
    "probe_accuracy": "linear probe, held out",
    "probe_iou": "linear probe, mean IoU",
    "source_accuracy": "accuracy on the source",
}

# Parts that are summed over the models of a zoo, each brought to [0, 1]: as the library does, and variants of FaCe.
SUMS: dict[str, tuple[str, ...]] = dict(OVER_MODELS) | {
    f"face, {name}": ("variance_collapse", f"class_fairness_{part}")
    for name, part in (("temperature 0.005", "sharp"), ("temperature 0.5", "soft"), ("diagonal", "diagonal"))
}


def in_zoos(table: pd.DataFrame) -> pd.DataFrame:
    """One row a model, seed, task and zoo: its `zoo`, and the scores that are sums over the models of the zoo.

    The sums are over the models of one seed on one task: another seed of a model is no rival of it.
    """
    rows = table.explode("zoos").rename(columns={"zoos": "zoo"})
    fair = {name.replace("un", "", 1): 1 - rows[name] for name in rows if name.startswith("class_unfairness")}
    blocks = rows.assign(**fair).groupby(["zoo", "task", "seed"], sort=False)
    return pd.concat([_with_sums(group) for _, group in blocks], ignore_index=True)


def _with_sums(group: pd.DataFrame) -> pd.DataFrame:
    sums = {name: _brought(group, parts).sum(1) for name, parts in SUMS.items() if set(parts) <= set(group)}
    parts = group[[*SUMS["face"]]]
    sums["face, z-scores"] = ((parts - parts.mean()) / parts.std()).sum(axis=1).to_numpy()
    return group.assign(**sums)


def _brought(group: pd.DataFrame, parts: Iterable[str]) -> np.ndarray:
    return over_models(torch.tensor(group[[*parts]].to_numpy(dtype=float))).numpy()


def weighted_tau(x: np.ndarray, y: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    """Weighted Kendall tau of x (n,) and y (n,) with each entry so many times, (resamples, n); (resamples,).

    As `scipy.stats.weightedtau` with its defaults, of the repeated entries: pairs weigh by the sum of 1 / (1 + rank),
    the highest values first, by x and by y in turn, so the top counts most. Range [-1, 1]; 1 is the same order. NaN
    where a side is constant. Source: Vigna 2015.
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
    """Weighted tau of a score and accuracy over models, (1 + resamples,): of all models, then of the resampled ones.

    It is that of one seed on one task, averaged over seeds and tasks of a zoo and then the zoos. The resamples are of
    the models of a zoo, with all their seeds and tasks, and the same for every score. Models that do not have the score
    are left out. Range [-1, 1]; 1 if the score orders the models as their accuracies do.
    """
    rng = np.random.default_rng(0)
    return np.mean([_of_zoo(group, score, rng) for _, group in rows.groupby("zoo", sort=False)], axis=0)


def _of_zoo(rows: pd.DataFrame, score: str, rng: np.random.Generator) -> np.ndarray:
    codes, names = pd.factorize(rows["model"])
    times = np.vstack([np.ones(len(names), dtype=int), times_drawn(len(names), rng)])[:, codes]
    x = rows[score].to_numpy(dtype=float) * (1 if higher_is_better(score) else -1)
    y = rows["accuracy"].to_numpy()
    blocks = rows.assign(place=range(len(rows)))[~np.isnan(x)].groupby(["task", "seed"], sort=False)["place"]
    found = [weighted_tau(x[part], y[part], times[:, part]) for part in (block.to_numpy() for _, block in blocks)]
    return np.mean(found, axis=0) if found else np.full(len(times), math.nan)


def estimate(draws: np.ndarray) -> Estimate:
    """The first of the draws, and the interval of the others."""
    if np.isnan(draws[0]) or np.isnan(draws[1:]).all():
        return Estimate(float(draws[0]))
    low, high = np.nanpercentile(draws[1:], [2.5, 97.5])
    return Estimate(float(draws[0]), float(low), float(high))


def ranks(rows: pd.DataFrame, score: str = "face") -> Estimate:
    """Weighted tau of a score and accuracy after fine-tuning, in [-1, 1], higher is better; see `taus`."""
    return estimate(taus(rows, score))


def advantage(rows: pd.DataFrame, rivals: Iterable[str] = EARLIER, score: str = "face") -> Estimate:
    """By how much a score ranks better than each of its rivals at least, in [-2, 2]; above 0 it is ahead of all.

    The least of its advantages, and the least of either end of their intervals: so the whole interval is above 0 only
    if that of every rival is, and below 0 only if that of one is. Each is taken where the rival has a value; NaN if
    none has.
    """
    known = {rival: rows.dropna(subset=rival) for rival in rivals if rival in rows}
    ahead = [estimate(taus(part, score) - taus(part, rival)) for rival, part in known.items() if len(part)]
    ends = np.array([list(vars(one).values()) for one in ahead if not math.isnan(one.value)]).reshape(-1, 3)
    return Estimate(*ends.min(0).tolist()) if len(ends) else Estimate(math.nan)


def regret(rows: pd.DataFrame, score: str) -> float:
    """Accuracy lost by fine-tuning the model of the best score in place of the best one, the mean over blocks.

    A block is one seed on one task in one zoo, and of its models those that have the score. Lower is better.
    """
    sign = 1 if higher_is_better(score) else -1
    blocks = rows[rows[score].notna()].groupby(["zoo", "task", "seed"])
    return float(np.mean([b["accuracy"].max() - b["accuracy"].loc[(sign * b[score]).idxmax()] for _, b in blocks]))


def before_and_after(rows: pd.DataFrame) -> Estimate:
    """Rank correlation over models of NC1 on the training images before and after fine-tuning, in [-1, 1].

    Of one seed on one task, averaged over those and the zoos. Where accuracies are published there is none after.
    """
    rows = rows.dropna(subset="nc1_tuned") if "nc1_tuned" in rows else rows.iloc[:0]
    if not len(rows):
        return Estimate(math.nan)
    before, after = -rows["variance_collapse"].to_numpy(), rows["nc1_tuned"].to_numpy()
    blocks = rows["task"] + rows["seed"].astype(str)
    return rank_correlation(before, after, rows["model"].to_numpy(), strata=rows["zoo"], blocks=blocks)


def _better(table: pd.DataFrame, zoo: str) -> Estimate:
    rows = in_zoos(table)
    return advantage(rows[rows["zoo"] == zoo])


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
            statistic="weighted Kendall tau of FaCe less that of each of ten earlier estimators, the least of all",
            threshold=0.0,
            estimate=partial(_better, zoo=zoo),
        )
        for key, zoo in (
            ("architectures", "architectures"),
            ("sources", "source data sets"),
            ("losses", "training losses"),
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
