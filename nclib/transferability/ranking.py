"""Ranking of pre-trained models for a task: the features of each, every score, and a table sorted by one of them."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from nclib.checks import check_least
from nclib.data.images import ImageFiles, ImageSet
from nclib.data.text_sets import Texts
from nclib.features.backbones import Backbone
from nclib.features.extraction import extract
from nclib.features.heads import headless
from nclib.metrics.measurement import Measurement, measured
from nclib.models.pretrained import backbone
from nclib.models.text_encoders import TextEncoder, text_encoder, text_features
from nclib.storage import replacing
from nclib.transferability.registry import OVER_MODELS, SCORES, chosen_scores, higher_is_better, with_sums
from nclib.transferability.source_scores import source_probabilities

_ROUNDING = 1e-9  # of a score's values, or of 1 if these are smaller: differences that mean nothing
_HATCHED = "hatched: no value, or none that tells these models apart"
Model = str | Backbone | TextEncoder
_OF_A_MODEL = (ValueError, TypeError, OSError, ImportError, RuntimeError)  # what a model may fail with


@dataclass(frozen=True)
class Ranking:
    """What `rank_models` found.

    Attributes
    ----------
    table
        One row a model, the best first; one column a score, and ``seconds``, what its features and scores took. NaN
        stands for a score that a model has not, or that says nothing of so few images.
    by, verified
        The score it is sorted by, and how many of the first are sorted by the accuracy of a linear probe instead.
    failures
        Why a model is not in it, by the model's name.
    notes
        What a reader should know of the scores, by the model's name.
    """

    table: pd.DataFrame
    by: str
    verified: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """The name of the first model.

        >>> Ranking(pd.DataFrame({"gbc": [-2.0, -9.0], "seconds": 1.0}, index=["ours", "theirs"]), by="gbc").best
        'ours'
        """
        return str(self.table.index[0])

    def agreement(self) -> pd.DataFrame:
        """Kendall's rank correlation of every two scores over the models, each turned so that higher is better."""
        return self.relative.round(9).corr("kendall")

    def to_dict(self) -> dict[str, Any]:
        """Models with their scores, best first, of plain Python types."""
        models = [{"model": name} | row.dropna().to_dict() for name, row in self.table.iterrows()]
        notes = {name: list(lines) for name, lines in self.notes.items()}
        return {"by": self.by, "models": models, "failures": dict(self.failures), "notes": notes}

    def __str__(self) -> str:
        first = [self.by, *(name for name in self.table if name != self.by)]
        shown = self.table[first].to_string(float_format=lambda value: f"{value:.4g}", na_rep="")
        about: dict[str, list[str]] = {}
        for name, lines in self.notes.items():
            for note in lines:
                about.setdefault(note, []).append(name)
        return "\n".join(
            [
                shown,
                self.order,
                *(f"note on {', '.join(names)}: {note}" for note, names in about.items()),
                *(f"{name} failed: {why}" for name, why in self.failures.items()),
            ]
        )

    @property
    def order(self) -> str:
        """What the models are sorted by, in words."""
        direction = "higher" if higher_is_better(self.by) else "lower"
        first = f"; the first {self.verified} by the accuracy of a linear probe" if self.verified else ""
        return f"sorted by {self.by}, {direction} is better{first}"

    def write(self, path: Path | str) -> None:
        """Write the table to a .csv file."""
        with replacing(Path(path)) as temporary:
            self.table.to_csv(temporary, index_label="model")

    def draw(self, path: Path | str) -> None:
        """Draw all scores, each from its worst (0) to its best (1) value over the models, to an image file."""
        import matplotlib.pyplot as plt

        values = self.relative
        size = (3 + 0.5 * values.shape[1], 2.2 + 0.32 * len(values))
        figure, axis = plt.subplots(figsize=size, layout="constrained")
        axis.patch.set(hatch="////", edgecolor="0.7")  # seen where there is no value
        shades = axis.imshow(values.to_numpy(dtype=float), cmap="viridis", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(values.shape[1]), values.columns, rotation=60, ha="right")
        axis.set_yticks(range(len(values)), values.index)
        axis.grid(False)
        axis.set_title(self.order)
        figure.colorbar(shades, label="0 worst, 1 best")
        if values.isna().any(axis=None):
            figure.supxlabel(_HATCHED, fontsize="small")
        with replacing(Path(path)) as temporary:
            figure.savefig(temporary, format=Path(path).suffix.lstrip("."))

    @property
    def relative(self) -> pd.DataFrame:
        """Every score from 0, the worst of the models, to 1, the best; NaN where they differ by rounding only."""
        scores = self.table.drop(columns="seconds")[[self.by, *self.table.columns.drop(["seconds", self.by])]]
        values = pd.DataFrame({name: v if higher_is_better(name) else -v for name, v in scores.items()})
        spread = values.max() - values.min()
        return (values - values.min()) / spread.where(spread > _ROUNDING * values.abs().max().clip(lower=1))


def rank_models(
    models: Iterable[Model],
    images: ImageSet | ImageFiles | Texts,
    *,
    scores: Iterable[str] | None = None,
    by: str | None = None,
    verify: int = 0,
    source_accuracy: Mapping[str, float] | None = None,
    cache: Path | str | None = None,
    half: bool | None = None,
    progress: bool = False,
    **loading: Any,
) -> Ranking:
    """Rank pre-trained models by how well they may transfer to labelled images or texts, without fine-tuning any.

    Parameters
    ----------
    models
        Names as `nclib.backbone` takes them, or `Backbone`; for texts as `nclib.text_encoder` does, or its encoders.
        One that fails is reported, and the others go on.
    images
        The task's training images, or `Texts`; a few dozen of a class do.
    scores
        Of `nclib.SCORES` and `nclib.OVER_MODELS`; None is all but the slow ones, "all" has those too.
    by
        The score to sort by; None is FaCe, or LogME where there are fewer than three classes or models.
    verify
        How many of the best are sorted again, by the accuracy of a linear probe on the fifth of the images that is
        held out.
    source_accuracy
        Accuracies of models on their source data by name, in [0, 1], where they are known, as a score among others.
    cache
        A folder that keeps features of images, as of `nclib.extract`.
    half
        Whether features of images are computed in half precision, as of `nclib.extract`.
    progress
        Show progress bars.
    loading
        How models that are named are loaded: `weights`, `imports` and `device` as of `nclib.backbone`, `device` and
        `data_root` as of `nclib.text_encoder`.

    Raises
    ------
    ValueError
        If the images are of one class, a score or `by` is unknown, or every model failed.

    Examples
    --------
    >>> from nclib import load
    >>> from nclib.features.backbones import AsTrained
    >>> pixels = Backbone("pixels", torch.nn.Flatten(), AsTrained(1, 28))
    >>> blurred = torch.nn.Sequential(torch.nn.AvgPool2d(14), torch.nn.Flatten())
    >>> rank_models([Backbone("blurred", blurred, AsTrained(1, 28)), pixels], load("digits", per_class=20)).best
    'pixels'
    """
    names, accuracies = chosen_scores(scores, by), source_accuracy or {}
    _check_images(images)
    check_least(0, verify=verify)
    given, how = _by_name(models, accuracies), _checked_loading(loading, isinstance(images, Texts))

    def scored(model: Model, names: list[str]) -> Measurement:
        features, probabilities = _features(model, images, how, {"cache": cache, "half": half, "progress": progress})
        more = {"probabilities": probabilities, "source_accuracy": accuracies.get(_name(model))}
        unknown = {part for part, value in more.items() if value is None}
        known = [name for name in names if unknown.isdisjoint(SCORES[name].inputs)]
        return measured(SCORES, known, features, images.labels, more, strict=False)

    found, failures = _all_scored(given, partial(scored, names=names), progress)
    table = with_sums(pd.DataFrame({name: _telling(values) for name, (values, _) in found.items()}).T)
    table["seconds"] = [seconds for _, seconds in found.values()]
    by = by or _usual(table)
    if by not in table:
        few = "; it takes two models or more" if by in OVER_MODELS and len(table) < 2 else ""
        raise ValueError(f"{by} is not among the scores found: {', '.join(table.columns.drop('seconds'))}{few}")
    if table[by].isna().all():
        why = next(note for values, _ in found.values() for note in values.notes if note.startswith(by))
        raise ValueError(f"{why}; give more images, or sort by another score")
    table = table.sort_values(by, ascending=not higher_is_better(by), kind="stable")
    if verify:
        table = _verified(table, verify, lambda name: scored(given[name], ["probe_accuracy"])["probe_accuracy"])
    notes = {name: values.notes for name, (values, _) in found.items() if values.notes}
    return Ranking(table, by, min(verify, len(table)), failures, notes)


def _telling(values: Measurement) -> dict[str, float]:
    """The scores of a model, with NaN for those that say nothing."""
    return {name: math.nan if name in values.empty else value for name, value in values.items()}


def _check_images(images: Any) -> None:
    if not isinstance(images, ImageSet | ImageFiles | Texts):
        raise TypeError(f"images are {type(images).__name__}; they must be an ImageSet, ImageFiles or Texts")
    if len(images.labels.unique()) < 2:
        raise ValueError(f"the images are of one class, {', '.join(images.classes)}; a ranking needs at least 2")


def _by_name(models: Iterable[Model], accuracies: Mapping[str, float]) -> dict[str, Model]:
    """The models by their names, which must differ."""
    models = [models] if isinstance(models, Model) else list(models)
    if not models:
        raise ValueError("there are no models to rank; give a name at least")
    given = {_name(each): each for each in models}
    if len(given) < len(models):
        raise ValueError(f"there are {len(models)} models of {len(given)} names; each needs a name of its own")
    if unknown := accuracies.keys() - given.keys():
        raise ValueError(f"source_accuracy has {', '.join(sorted(unknown))}, which is not among the models")
    return given


def _checked_loading(options: Mapping[str, Any], of_texts: bool) -> dict[str, Any]:
    """The options of `backbone`, or of `text_encoder`."""
    if unknown := options.keys() - {"weights", "imports", "device", "data_root"}:
        raise TypeError(f"{', '.join(sorted(unknown))} is no option; models take weights, imports, device, data_root")
    weights, imports = options.get("weights", "pretrained"), options.get("imports", ())
    if of_texts and (weights != "pretrained" or imports):
        raise ValueError(f"weights are {weights!r} and imports {imports!r}; encoders of texts have none to choose")
    if not of_texts and options.get("data_root"):
        raise ValueError(f"data_root is {str(options['data_root'])!r}; models of images read nothing from it")
    own = ("device", "data_root") if of_texts else ("weights", "imports", "device")
    return {name: options[name] for name in own if name in options}


def _usual(table: pd.DataFrame) -> str:
    """The score to sort by: FaCe. With two models FaCe has only the values 0, 1 and 2, so LogME."""
    usual = ("face", "logme") if len(table) > 2 else ("logme",)
    return next((name for name in usual if name in table), table.columns[0])


def _verified(table: pd.DataFrame, number: int, probed: Callable[[str], float]) -> pd.DataFrame:
    """The table with the accuracy of a probe of the first models, which are sorted by it."""
    first, rest = table.index[:number], table.index[number:]
    table["probe_accuracy"] = pd.Series([probed(name) for name in first], first)
    return table.loc[[*first[(-table["probe_accuracy"][:number]).argsort(kind="stable")], *rest]]


def _all_scored(
    models: Mapping[str, Model], scored: Callable[[Model], Measurement], progress: bool
) -> tuple[dict[str, tuple[Measurement, float]], dict[str, str]]:
    """What is found of every model, with the seconds that it took, and why others failed."""
    found, failures = {}, {}
    for name, model in tqdm(models.items(), "rank models", disable=not progress, leave=False):
        start = time.perf_counter()
        try:
            found[name] = scored(model), time.perf_counter() - start
        except _OF_A_MODEL as error:
            failures[name] = str(error)
    if not found:
        raise ValueError("no model could be scored: " + "; ".join(f"{name}: {why}" for name, why in failures.items()))
    return found, failures


def _features(
    model: Any, images: Any, how: dict[str, Any], extracting: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A model's features (N, d), and what its source classifier says of them, if it has one."""
    _check_kind(model, images)
    if isinstance(images, Texts):
        encoder = text_encoder(model, **how) if isinstance(model, str) else model
        return text_features(encoder, images.texts, progress=extracting["progress"]), None
    made = headless(backbone(model, **how) if isinstance(model, str) else model)
    features = extract(made, images, **extracting)
    return features, source_probabilities(made, features)


def _check_kind(model: Any, images: Any) -> None:
    kind, what = (TextEncoder, "texts") if isinstance(images, Texts) else (Backbone, "images")
    if not isinstance(model, str | kind):
        raise TypeError(f"it is a {type(model).__name__}; {what} need a {kind.__name__}, or the name of one")


def _name(model: Model) -> str:
    return model if isinstance(model, str) else model.name
