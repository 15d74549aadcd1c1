"""Chapters 6 and 7: choosing a pre-trained model, scores held against accuracy after fine-tuning (Ding et al. 2023)."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from nclib.estimates import Estimate, mean_spearman
from nclib.experiments.cells import filed_models, named_models, of_method, of_task, trained_models
from nclib.experiments.claims import RANKS, Claim
from nclib.experiments.inference import holm, of_correlations, seeds_or_panels, summary
from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import Scale, SceneTask, Task, Zoo
from nclib.transferability.calibration import likely_best
from nclib.transferability.class_scores import sum_over_models
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
RELIABLE = 0.5  # rank correlation of accuracies between seeds of exploration, below which a zoo is not chosen
SIZES = (3, 5, 8, 11)  # of choices among models; FaCe says nothing of two
FEWEST = 3  # models of a block: two are in the same order half of the time

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
    "parc": "PARC",
    "pactran": "PACTran",
    "tmi": "TMI",
    "etran": "ETran",
    "rankme": "RankMe",
    "lidar": "LiDAR",
    "vci": "VCI",
    "cdnv": "CDNV",
    "probe_accuracy": "linear probe, held out",
    "probe_iou": "linear probe, mean IoU",
    "source_accuracy": "accuracy on the source",
    "parameters": "number of parameters",
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


def tau(rows: pd.DataFrame, score: str = "face") -> float:
    """Weighted tau of a score and accuracy over the models of a block that have the score; NaN of fewer than three.

    Range [-1, 1]; 1 if the score orders the models as their accuracies do. Mistakes at the top weigh most.
    """
    from scipy.stats import weightedtau

    known = rows.dropna(subset=score) if score in rows else rows[:0]
    if len(known) < FEWEST:
        return math.nan
    sign = 1 if higher_is_better(score) else -1
    return float(weightedtau(sign * known[score].to_numpy(dtype=float), known["accuracy"].to_numpy()).statistic)


def ahead_of(rival: str, rows: pd.DataFrame) -> float:
    """The tau of FaCe minus that of a rival, over the models of a block that have the rival; NaN if too few do."""
    return tau(rows.dropna(subset=rival)) - tau(rows, rival) if rival in rows else math.nan


def ahead_of_the_average(rows: pd.DataFrame) -> float:
    """The tau of FaCe minus that of a rival, the mean over the nine rivals."""
    return float(np.nanmean([ahead_of(rival, rows) for rival in DISTINCT]))


def collapse_kept(rows: pd.DataFrame) -> float:
    """Rank correlation over the models of a block of NC1 before and after fine-tuning; NaN where there is no after."""
    known = rows.dropna(subset="nc1_tuned") if "nc1_tuned" in rows else rows[:0]
    if len(known) < FEWEST:
        return math.nan
    return mean_spearman(-known["variance_collapse"].to_numpy(), known["nc1_tuned"].to_numpy())


def regret(rows: pd.DataFrame, score: str = "face") -> float:
    """Accuracy lost by fine-tuning the model of the best score in place of the best one; NaN of a block without it."""
    known = rows.dropna(subset=score)
    if known.empty:
        return math.nan
    sign = 1 if higher_is_better(score) else -1
    return float(known["accuracy"].max() - known["accuracy"].loc[(sign * known[score]).idxmax()])


def blocks(rows: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> pd.DataFrame:
    """A statistic of the models of each zoo, task and seed, as replicates: seeds, or zoos on tasks."""
    found = rows.groupby(["zoo", "task", "seed"], sort=False).apply(statistic).rename("value").reset_index()
    found = found.assign(panel=found["zoo"] + " on " + found["task"]).dropna(subset="value")
    return seeds_or_panels(found) if len(found) else found


def ranks(rows: pd.DataFrame, score: str = "face") -> Estimate:
    """`tau` of a score, with the interval of a claim; NaN if no block has the score."""
    return of_correlations(blocks(rows, partial(tau, score=score)))


def all_ranks(rows: pd.DataFrame) -> dict[str, Estimate]:
    """`ranks` of each score that there is, in the order of the book's tables; without those that are undefined."""
    found = {score: ranks(rows, score) for score in LABELS if score in rows}
    return {score: tau for score, tau in found.items() if not math.isnan(tau.value)}


def over_blocks(rows: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> Estimate:
    """The mean of a statistic over zoos, tasks and seeds, with the interval of a claim; NaN if no block has it."""
    found = blocks(rows, statistic)
    return summary(found) if len(found) else Estimate(math.nan)


def ahead(rows: pd.DataFrame, rivals: Iterable[str] = DISTINCT) -> pd.DataFrame:
    """By how much FaCe ranks better than each rival: `difference`, an estimate, and `p`, adjusted by Holm's method."""
    found = {rival: over_blocks(rows, partial(ahead_of, rival)) for rival in rivals}
    p_values = holm([each.p_value(0.0) for each in found.values()])
    return pd.DataFrame({"difference": found, "p": dict(zip(found, p_values, strict=True))})


def mean_ranks(rows: pd.DataFrame, scores: Iterable[str]) -> tuple[pd.Series, float, float]:
    """The mean rank of each score over zoos and tasks, 1 the best; Friedman's p-value; and the critical difference.

    A score's rank is that of its tau, the mean over seeds. Two scores whose mean ranks differ by less than the critical
    difference (Nemenyi, 5%) cannot be told apart. Zoos on tasks where a score is undefined are left out; of none left
    all is NaN.
    """
    from scipy.stats import friedmanchisquare, studentized_range

    taus = {name: rows.groupby(["zoo", "task", "seed"]).apply(tau, score=name) for name in scores}
    table = pd.DataFrame(taus).groupby(level=["zoo", "task"]).mean().dropna()
    (number, k), places = table.shape, table.rank(axis=1, ascending=False)
    if not number:
        return places.mean(), math.nan, math.nan
    critical = studentized_range.ppf(0.95, k, math.inf) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * number))
    return places.mean().sort_values(), float(friedmanchisquare(*table.T.to_numpy()).pvalue), float(critical)


def reliability(rows: pd.DataFrame) -> float:
    """Rank correlation of the models' accuracies between seeds, the mean over zoos, tasks and pairs of seeds.

    It bounds what any score can reach. NaN of one seed.
    """
    found = []
    for _, block in rows.groupby(["zoo", "task"]):
        by_seed = block.pivot_table(index="model", columns="seed", values="accuracy").corr("spearman").to_numpy()
        found += by_seed[np.triu_indices(len(by_seed), 1)].tolist()
    return float(np.mean(found)) if found else math.nan


def choices(rows: pd.DataFrame, times: int = 10) -> pd.DataFrame:
    """Random choices among some models of a zoo on a task, so many of each number of models.

    A row a choice: `zoo`, `seed`, `size`, and arrays (size,) of FaCe among these models, `face`, and of which was the
    `best`, 1 for it and 0 for the others; models that are equally good share the 1.
    """
    rng, found = np.random.default_rng(0), []
    for (zoo, _, seed), block in rows.groupby(["zoo", "task", "seed"], sort=False):
        parts, accuracies = torch.from_numpy(block[[*SUMS["face"]]].to_numpy()), block["accuracy"].to_numpy()
        for size in [number for number in SIZES if number <= len(block)] * times:
            drawn = rng.choice(len(block), size, replace=False)
            best = accuracies[drawn] == accuracies[drawn].max()
            found.append((zoo, seed, size, sum_over_models(parts[drawn]).numpy(), best / best.sum()))
    return pd.DataFrame(found, columns=["zoo", "seed", "size", "face", "best"])


def calibration(table: pd.DataFrame) -> tuple[float, float]:
    """The scale and power of `likely_best` under which the best models of `choices` are likeliest; NaN of none."""
    from scipy.optimize import minimize

    if table.empty:
        return math.nan, math.nan
    parts = [(np.stack(part["face"]), np.stack(part["best"])) for _, part in table.groupby("size")]

    def surprise(parameters: np.ndarray) -> float:
        scale, power = math.exp(parameters[0]), parameters[1]
        return -sum(float((best * np.log(likely_best(face, scale, power))).sum()) for face, best in parts) / len(table)

    scale, power = minimize(surprise, (-1.0, 1.0), method="Nelder-Mead").x
    return math.exp(scale), float(power)


def with_likely_best(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `choices` with `likely`, by the calibration that fits all zoos but a row's own, and `skill`.

    The skill is by how much the Brier score of equal probabilities is above that of `likely`.
    """
    parts = []
    for zoo, own in table.groupby("zoo", sort=False):
        fit = calibration(table[table["zoo"] != zoo])
        parts.append(own.assign(likely=[likely_best(face, *fit) for face in own["face"]]))
    found = pd.concat(parts) if parts else table.assign(likely=[])
    errors = [((p - best) ** 2).sum() for p, best in zip(found["likely"], found["best"], strict=True)]
    equal = [((1 / len(best) - best) ** 2).sum() for best in found["best"]]
    return found.assign(skill=np.subtract(equal, errors))


def _tuned_whole(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of models that are fine-tuned whole."""
    rows = in_zoos(table)
    return rows[rows["method"] == "full"]


def _of_zoo(table: pd.DataFrame, zoo: str) -> pd.DataFrame:
    rows = in_zoos(table)
    return blocks(rows[rows["zoo"] == zoo], ahead_of_the_average)


_ding = partial(Claim, paper="ding2023", side="above", study="model_selection", threshold=0.0, smallest=RANKS)
_TAU = "weighted Kendall tau of FaCe and {} after fine-tuning, mean over tasks and zoos"

CLAIMS = (
    _ding(
        key="C1",
        sentence="Collapse on the target data before fine-tuning correlates strongly with collapse after it.",
        statistic="rank correlation over models of NC1 before and after all of them is tuned, mean over tasks and zoos",
        threshold=0.5,  # what is usually called a strong correlation
        kind="correlation",
        replicates=lambda table: blocks(_tuned_whole(table), collapse_kept),
    ),
    _ding(
        key="C2-ranks",
        sentence="FaCe ranks pre-trained models for a target task.",
        statistic=_TAU.format("accuracy"),
        kind="correlation",
        replicates=lambda table: blocks(in_zoos(table), tau),
    ),
    *(
        _ding(
            key=f"C2-{key}",
            sentence=f"FaCe ranks better than the average earlier estimator over {zoo}.",
            statistic="weighted Kendall tau of FaCe minus the mean tau of nine earlier estimators, mean over tasks",
            replicates=partial(_of_zoo, zoo=zoo),
        )
        for key, zoo in (
            ("architectures", "architectures"),
            ("sources", "source data sets"),
            ("losses", "training losses"),
        )
    ),
    _ding(
        key="C2-static",
        sentence="FaCe ranks models better than their accuracy on the source does. (Our control.)",
        statistic="weighted Kendall tau of FaCe minus that of source accuracy, mean over tasks and zoos",
        replicates=lambda table: blocks(in_zoos(table), partial(ahead_of, "source_accuracy")),
    ),
    *(
        _ding(
            key=f"C3-{kind}",
            sentence=f"FaCe ranks pre-trained models for {words}, too.",
            study=study,
            statistic=_TAU.format(quality),
            kind="correlation",
            replicates=lambda table: blocks(_tuned_whole(table), tau),
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
