"""Chapters 6 and 7: choosing a pre-trained model, scores held against accuracy after fine-tuning (Ding et al. 2023)."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from nclib.estimates import Estimate, mean_spearman, rank_correlation, times_drawn, weighted_tau
from nclib.experiments.cells import filed_models, named_models, of_method, of_task, trained_models
from nclib.experiments.claims import RANKS, Claim
from nclib.experiments.inference import seeds_or_panels
from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import Scale, SceneTask, Task, Zoo
from nclib.transferability.registry import OVER_MODELS, higher_is_better, with_sums


def score_cost(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """Features of so many samples, numbers and classes a cell, one of the three varied at a time."""
    base = {"samples": 1000, "features": 128, "classes": 10}
    varied = {"samples": (250, 4000), "features": (32, 512), "classes": (5, 40)}
    cells = [base, *(base | {name: value} for name, values in varied.items() for value in values)]
    return [cell | {"seed": 0} for cell in cells]


def model_selection(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """For tasks of images; a cell names all the zoos that have it."""
    return _selection(scale.zoos, list(seeds))


def scene_selection(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """For tasks of pixels."""
    return _selection(scale.scene_zoos, list(seeds))


def text_selection(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """For tasks of words."""
    return _selection(scale.text_zoos, list(seeds))


def encoder_selection(scale: Scale, seeds: Iterable[int]) -> list[Cell]:
    """For tasks of words, of encoders by name; none at demo scale."""
    return _selection(scale.encoder_zoos, list(seeds))


def _selection(zoos: Iterable[Zoo], seeds: list[int]) -> list[Cell]:
    cells: dict[str, Cell] = {}
    members: dict[str, list[str]] = {}
    for zoo in zoos:
        repeats = seeds[: zoo.repeats]
        models = _named(zoo, repeats) + trained_models(zoo.recipes, repeats)
        for task, model in product(zoo.tasks, models):  # neighbours do not share a network to be trained
            if _plain(model.get("source", "")) == _plain(task.data):
                continue
            cell = model | _of(task) | _how(zoo)
            cells[repr(cell)] = cell
            members.setdefault(repr(cell), []).append(zoo.title)
    return [cell | {"zoos": members[key]} for key, cell in cells.items()]


def _named(zoo: Zoo, seeds: list[int]) -> list[Cell]:
    if zoo.architecture:
        return filed_models(zoo.models, seeds, zoo.architecture, zoo.weights)
    return named_models(zoo.models, seeds, zoo.weights)


def _plain(data: str) -> str:
    """The name of a data set, without which classes of it are taken."""
    return data.partition("[")[0]


def _of(task: Task | SceneTask) -> Cell:
    if isinstance(task, Task):
        return of_task(task, task.train_per_class)
    numbers = {"train": task.train, "test": task.test, "pixels_per_class": task.pixels_per_class}
    return {"task": task.title, "data": task.data} | numbers


def _how(zoo: Zoo) -> Cell:
    if zoo.method == "published":
        return {"method": zoo.method}
    how = {"rates": list(zoo.rates), "epochs_tuned": zoo.epochs, "augmentation_tuned": 0.0}
    return of_method(zoo.method, zoo.layers) | how


# Estimators that were published before FaCe, and are held against it.
EARLIER = ("leep", "nce", "nleep", "h_score", "h_score_shrunk", "logme", "gbc", "transrate", "sfda", "vci")

# Of the two H-scores and VCI, which is one less the H-score over its range, one is a rival.
DISTINCT = tuple(score for score in EARLIER if score != "vci")
RELIABLE = 0.5  # rank correlation of accuracies between seeds, below which a ranking by them is noise

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

# What is recorded of fairness, whose digits are near 1, and what is summed: by the settings of `nclib.class_fairness`.
FAIR = {f"class_unfairness{kind}": f"class_fairness{kind}" for kind in ("", "_sharp", "_soft", "_diagonal")}
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
    fair = {name: 1 - rows[recorded] for recorded, name in FAIR.items() if recorded in rows}
    blocks = rows.assign(**fair).groupby(["zoo", "task", "seed"], sort=False)
    return pd.concat([_with_sums(group) for _, group in blocks], ignore_index=True)


def _with_sums(group: pd.DataFrame) -> pd.DataFrame:
    parts = group[[*SUMS["face"]]]
    z_scores = ((parts - parts.mean()) / parts.std()).sum(axis=1).to_numpy()
    summed = with_sums(group, SUMS)
    alone = {name: math.nan for name in SUMS.keys() - summed.columns if set(SUMS[name]) <= set(group)}  # a single model
    return summed.assign(**alone, **{"face, z-scores": z_scores})


def overview(tables: Mapping[Any, pd.DataFrame], levels: list[str], tuned: str, quality: str) -> pd.DataFrame:
    """One row a zoo: its models and tasks, how they are tuned, and the range of what comes of it, in columns so called.

    `levels` name the keys of the tables, which are of `in_zoos`.
    """

    def listed(values: pd.Series) -> str:
        return ", ".join(values.unique())

    def spread(values: pd.Series) -> str:
        return f"{values.min():.2f} to {values.max():.2f}"

    counts = {"models": ("model", "nunique"), "of each": ("seed", "nunique"), "tasks": ("task", listed)}
    columns = counts | {tuned: ("method", listed), quality: ("accuracy", spread)}
    return pd.concat(tables, names=levels).groupby([*levels, "zoo"], sort=False).agg(**columns).astype(object)


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


def all_ranks(rows: pd.DataFrame) -> dict[str, Estimate]:
    """`ranks` of each score that there is, in the order of the book's tables; without those that are undefined."""
    found = {score: ranks(rows, score) for score in LABELS if score in rows}
    return {score: tau for score, tau in found.items() if not math.isnan(tau.value)}


def advantage(rows: pd.DataFrame, rivals: Iterable[str] = EARLIER, score: str = "face") -> Estimate:
    """By how much a score ranks better than each of its rivals at least, in [-2, 2]; above 0 it is ahead of all.

    The least of its advantages, and the least of either end of their intervals: so the whole interval is above 0 only
    if that of every rival is, and below 0 only if that of one is. Each is taken where the rival has a value; NaN if
    none has.
    """
    known = {rival: rows.dropna(subset=rival) for rival in rivals if rival in rows}
    ahead = [estimate(taus(part, score) - taus(part, rival)) for rival, part in known.items() if len(part)]
    ends = np.array([(one.value, one.low, one.high) for one in ahead if not math.isnan(one.value)]).reshape(-1, 3)
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


def blocks(rows: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> pd.DataFrame:
    """A statistic of the models of each zoo, task and seed, as replicates: seeds, or zoos on tasks."""
    found = rows.groupby(["zoo", "task", "seed"], sort=False).apply(statistic).rename("value").reset_index()
    return seeds_or_panels(found.assign(panel=found["zoo"] + " on " + found["task"]).dropna(subset="value"))


def tau(rows: pd.DataFrame, score: str = "face") -> float:
    """Weighted tau of a score and accuracy over the models of a block; NaN where all have one value, or none."""
    known = rows.dropna(subset=score) if score in rows else rows[:0]
    if len(known) < 2:
        return math.nan
    sign = 1 if higher_is_better(score) else -1
    return float(weighted_tau(sign * known[score].to_numpy(dtype=float), known["accuracy"].to_numpy())[0])


def ahead_of_the_average(rows: pd.DataFrame) -> float:
    """The tau of FaCe less the mean of those of its rivals, each over the models that have it."""
    return float(np.mean([tau(rows.dropna(subset=r)) - t for r in DISTINCT if not math.isnan(t := tau(rows, r))]))


def _collapse_kept(rows: pd.DataFrame) -> float:
    """Rank correlation over the models of a block of NC1 before and after fine-tuning; NaN where there is no after."""
    known = rows.dropna(subset="nc1_tuned") if "nc1_tuned" in rows else rows[:0]
    if not len(known):
        return math.nan
    return mean_spearman(-known["variance_collapse"].to_numpy(), known["nc1_tuned"].to_numpy())


def reliability(rows: pd.DataFrame) -> float:
    """Rank correlation of the models' accuracies between seeds, the mean over zoos, tasks and pairs of seeds.

    It bounds what any score can reach. NaN of one seed.
    """
    found = []
    for _, block in rows.groupby(["zoo", "task"]):
        by_seed = block.pivot(index="model", columns="seed", values="accuracy").corr("spearman").to_numpy()
        found += by_seed[np.triu_indices(len(by_seed), 1)].tolist()
    return float(np.mean(found)) if found else math.nan


def _reliable(table: pd.DataFrame, zoo: str = "") -> str:
    """Why accuracies that do not repeat test no ranking, in one zoo or all."""
    rows = in_zoos(table)
    found = reliability(rows[rows["zoo"] == zoo] if zoo else rows)
    return f"seeds agree on the models' order by {found:.2f} only" if found < RELIABLE else ""


def _ahead(table: pd.DataFrame, zoo: str) -> pd.DataFrame:
    rows = in_zoos(table)
    return blocks(rows[rows["zoo"] == zoo], ahead_of_the_average)


_ding = partial(Claim, paper="ding2023", side="above", study="model_selection", threshold=0.0, smallest=RANKS)
_TAU = "weighted Kendall tau of FaCe and {} after fine-tuning, mean over tasks and zoos"

CLAIMS = (
    _ding(
        key="C1",
        sentence="Collapse on the target data before fine-tuning correlates strongly with collapse after it.",
        statistic="rank correlation over models of NC1 before and after fine-tuning, mean over tasks and zoos",
        threshold=0.5,  # what is usually called a strong correlation
        kind="correlation",
        replicates=lambda table: blocks(in_zoos(table), _collapse_kept),
    ),
    _ding(
        key="C2-ranks",
        sentence="FaCe ranks pre-trained models for a target task.",
        statistic=_TAU.format("accuracy"),
        kind="correlation",
        replicates=lambda table: blocks(in_zoos(table), tau),
        untested=_reliable,
    ),
    *(
        _ding(
            key=f"C2-{key}",
            sentence=f"FaCe ranks better than the average earlier estimator over {zoo}.",
            statistic="weighted Kendall tau of FaCe less the mean of those of nine earlier estimators, mean over tasks",
            replicates=partial(_ahead, zoo=zoo),
            untested=partial(_reliable, zoo=zoo),
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
            kind="correlation",
            replicates=lambda table: blocks(in_zoos(table), tau),
            untested=_reliable,
        )
        for kind, words, study, quality in (
            ("pixels", "semantic segmentation", "scene_selection", "mean intersection over union"),
            ("words", "text classification", "text_selection", "accuracy"),
        )
    ),
)

STUDIES = (model_selection, score_cost, scene_selection, text_selection, encoder_selection)
LIVE: dict[str, Cell] = {"model_selection": {}, "scene_selection": {}, "text_selection": {}}
# What computes on the CPU, whatever the device of a run.
ON_CPU = frozenset({"score_cost", "text_selection"})
