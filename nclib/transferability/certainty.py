"""How sure a ranking is: what as many other images might have made of the score that it is sorted by.

The samples of each class are dealt into blocks, the same for every model, and the score is computed again without each
of them: the delete-a-group jackknife (Kott 2001). Its deviations say how far the scores of all models move, and move
together, from sample to sample; draws from the t law that they give are what other samples of this size might show.
(A bootstrap repeats samples, which adds noise to class means and shifts NC1: its interval may miss the value itself.)

Memory: a copy of one layer's features, and of a score the models x layers x 4,000 draws.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from nclib.checks import few
from nclib.labels import called
from nclib.metrics.measurement import measured
from nclib.seeds import seeded
from nclib.transferability.class_scores import logme_of_each, sum_over_models
from nclib.transferability.registry import OVER_MODELS, SCORES, higher_is_better

BLOCKS, DRAWS, SHUFFLES = 20, 4000, 19
_SHUFFLED = 2000  # samples whose labels are shuffled, at most, or two of each class
_LEVEL = 0.975  # one-sided, so that two models are told apart where the 95% interval of their difference leaves out 0
_ROUNDING = 1e-9  # of the largest score: differences that mean nothing
_FARTHEST = 10.0  # of a score that is moved by a factor, its logarithm
_ROUGH = 5  # samples of a class, of which intervals hold the score less often than they say
_ABSURD = 100  # times as many images: more than anybody will take


class Again(NamedTuple):
    """A score's parts of one layer, computed again: without each block, and its first part for shuffled labels."""

    without: Tensor  # (blocks, parts)
    shuffled: Tensor  # (1 + SHUFFLES,); the first for the labels as they are, of the same samples


@dataclass(frozen=True)
class Certainty:
    """How sure a ranking by one score is, of models that were seen with one sample of images.

    All of it is about the sampling of these images alone. `p_first` is the probability that a model is the first by
    this score with as many other images; it is not that of being the best after fine-tuning.

    Attributes
    ----------
    table
        One row a model, the best score first. ``low`` and ``high`` are the 95% interval of its score with as many
        images, ``rank_low`` and ``rank_high`` that of its rank, ``p_first`` and ``p_top3`` the probabilities that it
        is the first and among the first three (models that are the same share theirs), ``among_first`` whether it
        cannot be told apart from the best: a set that holds the best with a confidence of 95% (Hsu 1981).
        ``p_shuffled`` is the p-value of its score, or of the first part of a sum over models, against labels that were
        shuffled; 0.05 at least.
    images, shuffled
        How many images there are, and how many of them the labels were shuffled of.
    images_needed
        How many images of the same kind would tell the first model from the next that cannot be told apart from it (or
        from the second); infinite if more than 100 times as many, or with one model.
    notes
        What to know of the intervals.
    """

    table: pd.DataFrame
    images: int
    shuffled: int
    images_needed: float
    notes: tuple[str, ...] = ()

    @property
    def rivals(self) -> list[str]:
        """The models that cannot be told apart from the first, best first.

        >>> table = pd.DataFrame({"among_first": [True, False, True]}, index=["ours", "theirs", "other"])
        >>> Certainty(table, 60, 60, 300.0).rivals
        ['other']
        """
        return [str(name) for name, among in self.table["among_first"].items() if among][1:]

    @property
    def poor(self) -> dict[str, float]:
        """The models whose score is no better than with shuffled labels, with its p-value.

        >>> table = pd.DataFrame({"p_shuffled": [0.05, 0.4]}, index=["ours", "theirs"])
        >>> Certainty(table, 60, 60, 300.0).poor
        {'theirs': 0.4}
        """
        least = 1 / (1 + SHUFFLES) + _ROUNDING
        return {str(name): float(p) for name, p in self.table["p_shuffled"].items() if p > least}

    def to_dict(self) -> dict[str, Any]:
        """The numbers, of plain Python types: by model, and of all."""
        models = {
            str(name): {
                "interval": [float(row["low"]), float(row["high"])],
                "rank": [int(row["rank_low"]), int(row["rank_high"])],
                **{part: float(row[part]) for part in ("p_first", "p_top3", "p_shuffled")},
                "among_first": bool(row["among_first"]),
            }
            for name, row in self.table.iterrows()
        }
        sizes = {"images": self.images, "images_shuffled": self.shuffled, "images_needed": self.images_needed}
        return {**sizes, "models": models}


def dealt(labels: Tensor, number: int = BLOCKS, seed: int = 0) -> Tensor:
    """The block of each sample, int64 (N,): every class is spread over all; -1 of one that is alone in its class.

    There are `number` blocks, or as many as samples that are not alone.

    Examples
    --------
    >>> blocks = dealt(torch.tensor([0, 0, 0, 0, 1, 1, 2]), 2)
    >>> blocks[:4].sort().values.tolist(), blocks[4:].sort().values.tolist()
    ([0, 0, 1, 1], [-1, 0, 1])
    """
    order = torch.randperm(len(labels), generator=seeded("blocks", seed))
    order = order[labels[order].argsort(stable=True)]
    order = order[labels.bincount()[labels[order]] > 1]
    blocks = torch.full_like(labels, -1)
    blocks[order] = torch.arange(len(order)) % max(1, min(number, len(order)))
    return blocks


def again(parts: Sequence[str], features: Tensor, labels: Tensor, more: Mapping[str, Any]) -> Again:
    """The parts of a score of one layer's features (N, d): without each block, and with shuffled labels.

    `more` are inputs of scores by name, or None, such as `probabilities` (N, Z).
    """
    labels, blocks, some = labels.cpu(), dealt(labels.cpu()), _some(labels.cpu())
    number, own, generator = int(blocks.max()) + 1, labels[some], seeded("shuffles")
    cases = [(blocks != block, labels) for block in range(number)]
    for shuffle in range(1 + SHUFFLES):
        order = torch.randperm(len(own), generator=generator) if shuffle else torch.arange(len(own))
        cases.append((some, labels.masked_scatter(some, own[order])))
    if [*parts] == ["logme"]:
        values = logme_of_each(features, cases).cpu()
        return Again(values[:number, None], values[number:])
    without = [_values(parts, features, moved, more, kept) for kept, moved in cases[:number]]
    shuffled = [_values(parts[:1], features, moved, more, kept)[0] for kept, moved in cases[number:]]
    made = torch.tensor(without, dtype=torch.float64).reshape(number, len(parts))
    return Again(made, torch.tensor(shuffled, dtype=torch.float64))


def _some(labels: Tensor) -> Tensor:
    """Which samples have their labels shuffled, bool (N,): all, or of many a share of each class, two at least."""
    if len(labels) <= _SHUFFLED:
        return torch.ones(len(labels), dtype=torch.bool)
    counts, order = labels.bincount(), torch.randperm(len(labels), generator=seeded("some"))
    order = order[labels[order].argsort(stable=True)]
    places = torch.empty_like(labels)
    places[order] = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]
    return places < (counts * (_SHUFFLED / len(labels))).round().clamp(min=2)[labels]


def _values(
    parts: Sequence[str], features: Tensor, labels: Tensor, more: Mapping[str, Any], kept: Tensor
) -> list[float]:
    """Scores of some of the samples; NaN for one that is not known, not defined, or says nothing."""
    there = kept.to(features.device)
    given = {name: value[there] if isinstance(value, Tensor) else value for name, value in more.items()}
    unknown = {name for name, value in given.items() if value is None}
    known = [part for part in parts if unknown.isdisjoint(SCORES[part].inputs)]
    if not known:
        return [math.nan] * len(parts)
    try:
        found = measured(SCORES, known, features[there], labels[kept], given, strict=False)
    except ValueError:  # the class means coincide without this block
        return [math.nan] * len(parts)
    return [math.nan if part in found.empty else found.get(part, math.nan) for part in parts]


def parts_of(by: str) -> tuple[str, ...]:
    """The scores that one is the sum of over models; of another itself.

    >>> parts_of("face"), parts_of("gbc")
    (('variance_collapse', 'class_fairness'), ('gbc',))
    """
    return OVER_MODELS.get(by, (by,))


def resampled(by: str) -> bool:
    """Whether a score is of the images, and quick enough to be computed forty times."""
    return not any(SCORES[part].on_request or SCORES[part].inputs == ("source_accuracy",) for part in parts_of(by))


def certainty(
    values: pd.DataFrame, found: Mapping[Any, Again], by: str, layers: Any, labels: Tensor, classes: Sequence[str]
) -> Certainty:
    """How sure the ranking by a score is, from its parts by model and layer, and the same computed again.

    Raises ValueError, which says why, if there is nothing to tell it from.
    """
    notes = _check_counts(labels, classes)
    if not resampled(by):
        raise ValueError(f"{by} is not computed again without some of the images")
    values = values.reindex(columns=[*parts_of(by)]).dropna()
    given, without = _checked(values, found, by)
    codes, names = pd.factorize(values.index.get_level_values(0))
    shown = partial(_shown, models=torch.tensor(codes), layers=layers)
    ends = [_ends(part, len(labels.unique())) for part in parts_of(by)]
    scores, draws = (shown(parts, by) for parts in (given.unsqueeze(2), _drawn(given, without, _spread(labels), ends)))
    null = shown(torch.stack([found[row].shuffled for row in values.index]).unsqueeze(1), parts_of(by)[0])
    order = scores[:, 0].argsort(descending=True, stable=True)
    scores, draws = scores[order, 0], draws[order]
    chances, critical = _behind(draws)
    table = _summed_up(scores, draws, 1 if higher_is_better(by) else -1).assign(
        among_first=(chances.amin(1) >= critical).numpy(), p_shuffled=_p_value(null[order])
    )
    table.index = pd.Index(names[order.numpy()], name=None)
    needed = _needed(len(labels), chances, critical)
    return Certainty(table, len(labels), int(_some(labels).sum()), needed, tuple(notes))


def _checked(values: pd.DataFrame, found: Mapping[Any, Again], by: str) -> tuple[Tensor, Tensor]:
    """The parts (rows, parts), and without each block (blocks, rows, parts), once it is sure that all are finite."""
    given, without = torch.tensor(values.to_numpy(dtype=float)), [found[row].without for row in values.index]
    known = [
        bool(torch.cat([own.unsqueeze(0), each]).isfinite().all()) for own, each in zip(given, without, strict=True)
    ]
    if not all(known):
        which = dict.fromkeys(str(row[0]) for row, is_known in zip(values.index, known, strict=True) if not is_known)
        raise ValueError(f"{few([*which])} has no finite {by} without some of the images")
    return given, torch.stack(without, 1)


def _check_counts(labels: Tensor, classes: Sequence[str]) -> list[str]:
    """Refuse classes of which most have one sample, and note the others that have."""
    counts = labels.bincount()
    alone, several = int((counts == 1).sum()), int((counts > 1).sum())
    if alone > several:
        raise ValueError(f"{alone} of {alone + several} classes have one sample; give two of each at least")
    typical = int(counts[counts > 0].median())
    rough = [f"its interval is rough: there are {typical} samples of a class"] if typical < _ROUGH else []
    if not alone:
        return rough
    have, vary = ("has", "is taken to vary") if alone == 1 else ("have", "are taken to vary")
    which = few(called((counts == 1).nonzero().flatten().tolist(), tuple(classes)))
    return [f"{which} {have} one sample and {vary} as the other classes do", *rough]


def _spread(labels: Tensor) -> float:
    """What the sum of squared deviations without each block is to be multiplied by, to be a variance.

    (B - 1) / B of classes in B blocks. A class of n < B samples is in n of them; classes count as 1 / n, as the
    variances of their means do, and one of a single sample, which no block has, as the others.
    """
    counts = labels.bincount()
    counts = counts[counts > 0].double()
    blocks = counts.clamp(max=BLOCKS)
    return float((1 / counts).sum() / (blocks / (blocks - 1) / counts)[counts > 1].sum())


def _drawn(values: Tensor, without: Tensor, spread: float, ends: Sequence[tuple[float, float]]) -> Tensor:
    """Draws (rows, parts, DRAWS) from the joint t law about the values (rows, parts), within the ends of each part."""
    generator, number = seeded("draws"), len(without)
    normal = torch.randn(number, DRAWS // 2, generator=generator, dtype=torch.float64)
    square = torch.randn(number - 1, DRAWS // 2, generator=generator, dtype=torch.float64).square().mean(0)
    steps = normal * (spread / square).sqrt()
    moves = torch.einsum("brp,bd->rpd", without - without.mean(0), torch.cat([steps, -steps], 1))
    return torch.stack([_moved(values[:, i, None], moves[:, i], *each) for i, each in enumerate(ends)], 1)


def _moved(values: Tensor, moves: Tensor, low: float, high: float) -> Tensor:
    """Values (rows, 1) moved so far, within [low, high]; by factors where 0 is the end: errors grow with the size."""
    if high == 0 or (low == 0 and high == math.inf):
        factors = (moves / values).clamp(-_FARTHEST, _FARTHEST).exp()
        return torch.where(values == 0, values, values * factors).clamp(low, high)
    return (values + moves).clamp(low, high)


def _ends(score: str, classes: int) -> tuple[float, float]:
    """The least and the largest value of a score, as the registry says them of K classes."""
    known = {"0": 0.0, "1": 1.0, "K − 1": classes - 1.0, "−ln K": -math.log(classes)}
    known["−K(K − 1)"] = -classes * (classes - 1.0)
    low, high = SCORES[score].range[1:-1].split(", ")
    return known.get(low, -math.inf), known.get(high, math.inf)


def _shown(parts: Tensor, by: str, models: Tensor, layers: Any) -> Tensor:
    """The score (models, draws), higher being better, from its parts (rows, parts, draws) and the rows' models."""
    scores = sum_over_models(parts) if by in OVER_MODELS else parts[:, 0]
    scores = scores if higher_is_better(by) else -scores
    rows = [scores[models == model] for model in range(int(models.max()) + 1)]
    return torch.stack([each.mean(0) if layers == "mean" else each.amax(0) for each in rows])


def _summed_up(scores: Tensor, draws: Tensor, sign: int) -> pd.DataFrame:
    """Intervals of scores (models,) and ranks, and the probabilities of the first places, from draws (models, ...)."""
    from scipy.stats import rankdata

    ends = draws.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), 1)
    ends = torch.stack([ends[0].minimum(scores), ends[1].maximum(scores)]) * sign
    rounded = (draws / (_ROUNDING * draws.abs().amax().clamp(min=1e-300))).round()
    ranks = torch.from_numpy(rankdata(-rounded.numpy(), axis=0))
    first = (ranks == ranks.amin(0)).double()
    places = ranks.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), 1)
    columns = {
        "low": ends.amin(0),
        "high": ends.amax(0),
        "rank_low": places[0].floor(),
        "rank_high": places[1].ceil(),
        "p_first": (first / first.sum(0)).mean(1),
        "p_top3": (ranks <= 3).double().mean(1),
    }
    table = pd.DataFrame({name: column.numpy() for name, column in columns.items()})
    return table.astype({"rank_low": int, "rank_high": int})


def _behind(draws: Tensor) -> tuple[Tensor, Tensor]:
    """The probability that a model (rows) is as good as another (columns), and how small the least may be by chance.

    That is the quantile of the least of a model's tail probabilities over the draws themselves, (models,): one p-value
    for many comparisons (Westfall and Young 1993), whatever the law of a score is.
    """
    from scipy.stats import rankdata

    still = _ROUNDING * float(draws.abs().amax())
    chances, critical = [], []
    for own in draws:
        ahead = draws - own
        chances.append((ahead <= still).double().mean(1))
        tails = torch.from_numpy(rankdata(-ahead.numpy(), axis=1)) / draws.shape[1]
        critical.append(tails.amin(0).quantile(1 - _LEVEL))
    return torch.stack(chances), torch.stack(critical)


def _needed(images: int, chances: Tensor, critical: Tensor) -> float:
    """How many images tell the first from its closest rival: standard errors shrink as one over the root of them."""
    from scipy.stats import norm

    if len(chances) < 2:
        return math.inf
    rivals = (chances[1:].amin(1) >= critical[1:]).nonzero().flatten()
    rival = 1 + (int(rivals[0]) if len(rivals) else 0)
    behind, enough = norm.isf([max(float(chances[rival, 0]), 0.5 / DRAWS), float(critical[rival])])
    return images * (enough / behind) ** 2 if _ABSURD * behind**2 > enough**2 and behind > 0 else math.inf


def _p_value(null: Tensor) -> Any:
    """Of scores (models, 1 + shuffles), the first of which is that of the labels as they are."""
    as_good = (null[:, 1:] >= null[:, :1] - _ROUNDING * null[:, :1].abs()).double().sum(1)
    return ((1 + as_good) / null.shape[1]).where(null.isfinite().all(1), math.nan).numpy()


def shuffled_notes(found: Certainty, by: str) -> dict[str, list[str]]:
    """A note on each model whose score is no better than with shuffled labels."""
    part, some = parts_of(by)[0], "" if found.shuffled == found.images else f" of {found.shuffled:,} of them"
    shuffles = f"{SHUFFLES} shuffles{some}"
    return {
        name: [f"its {part} is no better than with shuffled labels: p = {p:.2g} by {shuffles}"]
        for name, p in found.poor.items()
    }
