"""How certain a ranking is: how the score that it is sorted by varies between samples of as many images.

This is the delete-a-group jackknife (Kott 2001). The samples of each class are divided into blocks, the same for every
model, and the score is computed again without each block. The deviations estimate how the scores of all models vary
together from sample to sample. Draws from a joint t distribution with these deviations stand for other samples of this
size. (A bootstrap repeats samples, which adds noise to class means and shifts NC1: its interval may miss the value.)

Memory: a copy of one layer's features, and models x layers x 4,000 draws for each part of the score.
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
    """The parts of a score for one layer, computed without each block, and its first part with shuffled labels."""

    without: Tensor  # (blocks, parts)
    shuffled: Tensor  # (1 + SHUFFLES,); the first for the labels as they are, of the same samples


@dataclass(frozen=True)
class Certainty:
    """How certain a ranking by one score is, given that all models were scored on one sample of images.

    It covers only the sampling of these images. `p_first` is the probability that a model is first by this score on
    another sample of as many images. It is not the probability of being the best after fine-tuning.

    Attributes
    ----------
    table
        One row per model, the best score first. ``low`` and ``high`` are the ends of the 95% interval of its score
        over samples of as many images, ``rank_low`` and ``rank_high`` the ends of the interval of its rank.
        ``p_first`` is the probability that it is first (models that tie share it), and ``p_top3`` the probability that
        it is among the first three. ``among_first`` says whether it cannot be told apart from the best model; these
        models are a set that contains the best with a confidence of 95% (Hsu 1981). ``p_shuffled`` is the p-value of
        its score, or of the first part of a sum over models, against shuffled labels; it is at least 0.05.
    images, shuffled
        The number of images, and the number of images whose labels were shuffled.
    images_needed
        How many images of the same kind would be enough to tell the first model apart from the best model that cannot
        be told apart from it now (or from the second model if there is none); infinite if that is more than 100 times
        as many as there are, or if there is only one model.
    notes
        Limitations of the intervals, as sentences.
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
        """The p-values, by name, of the models whose score is no better than with shuffled labels.

        >>> table = pd.DataFrame({"p_shuffled": [0.05, 0.4]}, index=["ours", "theirs"])
        >>> Certainty(table, 60, 60, 300.0).poor
        {'theirs': 0.4}
        """
        least = 1 / (1 + SHUFFLES) + _ROUNDING
        return {str(name): float(p) for name, p in self.table["p_shuffled"].items() if p > least}

    def to_dict(self) -> dict[str, Any]:
        """The numbers of images, and the intervals and probabilities by model, in plain Python types."""
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
    """The block of each sample, int64 (N,); every class is spread over all blocks. A sample alone in its class has -1.

    There are `number` blocks, or fewer if fewer samples are not alone in their class.

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
    """The parts of a score of one layer's features (N, d), computed without each block and with shuffled labels.

    `more` maps the names of further inputs of scores, such as `probabilities` (N, Z), to their values or None.
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
    """Which samples have their labels shuffled, bool (N,): all, or, of many, a share of each class, at least two."""
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
    """Scores of some of the samples; NaN for a score that is unknown, undefined, or says nothing."""
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
    """The scores whose sum over models is the score `by`; only `by` itself if it is no such sum.

    >>> parts_of("face"), parts_of("gbc")
    (('variance_collapse', 'class_fairness'), ('gbc',))
    """
    return OVER_MODELS.get(by, (by,))


def resampled(by: str) -> bool:
    """Whether a score depends on the images and is quick enough to be computed forty times."""
    return not any(SCORES[part].on_request or SCORES[part].inputs == ("source_accuracy",) for part in parts_of(by))


def certainty(
    values: pd.DataFrame, found: Mapping[Any, Again], by: str, layers: Any, labels: Tensor, classes: Sequence[str]
) -> Certainty:
    """How certain the ranking by a score is, as a `Certainty`.

    `values` are the parts of the score by model and layer, and `found` the same parts computed again. ValueError if the
    certainty cannot be computed; it says why.
    """
    notes = _check_counts(labels, classes)
    if not resampled(by):
        raise ValueError(f"{by} is not computed again on parts of the images")
    values = values.reindex(columns=[*parts_of(by)]).dropna()
    given, without = _checked(values, found, by)
    codes, names = pd.factorize(values.index.get_level_values(0))
    shown = partial(_shown, models=torch.tensor(codes), layers=layers)
    ends = [_ends(part, len(labels.unique())) for part in parts_of(by)]
    scores, draws = (
        shown(parts, by) for parts in (given.unsqueeze(2), _drawn(given, without, _variance_factor(labels), ends))
    )
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
    """The parts (rows, parts), and the parts without each block (blocks, rows, parts), checked to be finite."""
    given, without = torch.tensor(values.to_numpy(dtype=float)), [found[row].without for row in values.index]
    known = [
        bool(torch.cat([own.unsqueeze(0), each]).isfinite().all()) for own, each in zip(given, without, strict=True)
    ]
    if not all(known):
        which = dict.fromkeys(str(row[0]) for row, is_known in zip(values.index, known, strict=True) if not is_known)
        raise ValueError(f"{by} of {few([*which])} is not finite on every part of the images")
    return given, torch.stack(without, 1)


def _check_counts(labels: Tensor, classes: Sequence[str]) -> list[str]:
    """Notes on classes of one sample and on small classes; ValueError if most classes have one sample."""
    counts = labels.bincount()
    alone, several = int((counts == 1).sum()), int((counts > 1).sum())
    if alone > several:
        raise ValueError(f"{alone} of {alone + several} classes have one sample; give at least two of each")
    typical = int(counts[counts > 0].median())
    rough = [f"its interval is rough: the median class has {typical} samples"] if typical < _ROUGH else []
    if not alone:
        return rough
    have, vary = ("has", "is assumed to vary") if alone == 1 else ("have", "are assumed to vary")
    which = few(called((counts == 1).nonzero().flatten().tolist(), tuple(classes)))
    return [f"{which} {have} one sample and {vary} as the other classes do", *rough]


def _variance_factor(labels: Tensor) -> float:
    """The factor that turns the sum of squared deviations without each block into a variance.

    It is (B - 1) / B for a class that is spread over B blocks; a class of fewer than B samples is in as many blocks as
    it has samples. Classes have weights of 1 / n, as the variances of their means do. A class of one sample is in no
    block, and is assumed to vary as the others do.
    """
    counts = labels.bincount()
    counts = counts[counts > 0].double()
    blocks = counts.clamp(max=BLOCKS)
    return float((1 / counts).sum() / (blocks / (blocks - 1) / counts)[counts > 1].sum())


def _drawn(values: Tensor, without: Tensor, spread: float, ends: Sequence[tuple[float, float]]) -> Tensor:
    """Draws (rows, parts, DRAWS) from a joint t distribution about the values (rows, parts), within their ranges."""
    generator, number = seeded("draws"), len(without)
    normal = torch.randn(number, DRAWS // 2, generator=generator, dtype=torch.float64)
    square = torch.randn(number - 1, DRAWS // 2, generator=generator, dtype=torch.float64).square().mean(0)
    steps = normal * (spread / square).sqrt()
    moves = torch.einsum("brp,bd->rpd", without - without.mean(0), torch.cat([steps, -steps], 1))
    return torch.stack([_moved(values[:, i, None], moves[:, i], *each) for i, each in enumerate(ends)], 1)


def _moved(values: Tensor, moves: Tensor, low: float, high: float) -> Tensor:
    """Values (rows, 1) plus moves (rows, draws), in [low, high]; as factors if the range ends at 0: errors scale."""
    if high == 0 or (low == 0 and high == math.inf):
        factors = (moves / values).clamp(-_FARTHEST, _FARTHEST).exp()
        return torch.where(values == 0, values, values * factors).clamp(low, high)
    return (values + moves).clamp(low, high)


def _ends(score: str, classes: int) -> tuple[float, float]:
    """The smallest and the largest value of a score for K classes, from the range in the registry."""
    known = {"0": 0.0, "1": 1.0, "K − 1": classes - 1.0, "−ln K": -math.log(classes)}
    known["−K(K − 1)"] = -classes * (classes - 1.0)
    low, high = SCORES[score].range[1:-1].split(", ")
    return known.get(low, -math.inf), known.get(high, math.inf)


def _shown(parts: Tensor, by: str, models: Tensor, layers: Any) -> Tensor:
    """The score (models, draws), where higher is better, from its parts (rows, parts, draws) and the rows' models."""
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
    """The probability that each model (rows) is as good as each other (columns), and a critical value for its minimum.

    The critical value (models,) is a quantile of a model's smallest tail probability over the draws, which adjusts for
    the many comparisons (Westfall and Young 1993) whatever the distribution of the score.
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
    """How many images tell the first from its closest rival: standard errors fall with the root of the number."""
    from scipy.stats import norm

    if len(chances) < 2:
        return math.inf
    rivals = (chances[1:].amin(1) >= critical[1:]).nonzero().flatten()
    rival = 1 + (int(rivals[0]) if len(rivals) else 0)
    behind, enough = norm.isf([max(float(chances[rival, 0]), 0.5 / DRAWS), float(critical[rival])])
    return images * (enough / behind) ** 2 if _ABSURD * behind**2 > enough**2 and behind > 0 else math.inf


def _p_value(null: Tensor) -> Any:
    """The p-values (models,) from scores (models, 1 + shuffles), of which the first column has the true labels."""
    as_good = (null[:, 1:] >= null[:, :1] - _ROUNDING * null[:, :1].abs()).double().sum(1)
    return ((1 + as_good) / null.shape[1]).where(null.isfinite().all(1), math.nan).numpy()


def shuffled_notes(found: Certainty, by: str) -> dict[str, list[str]]:
    """A note on each model whose score is no better than with shuffled labels."""
    part, some = parts_of(by)[0], "" if found.shuffled == found.images else f" of {found.shuffled:,} of them"
    shuffles = f"{SHUFFLES} shuffles{some}"
    return {
        name: [f"its {part} is no better than with shuffled labels: p = {p:.2g} from {shuffles}"]
        for name, p in found.poor.items()
    }
