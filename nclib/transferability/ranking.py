"""Ranking of pre-trained models for a task: the features of each, every score, and a table sorted by one of them."""

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from nclib.checks import check_whole, few, listed_names
from nclib.data.kinds import with_labels
from nclib.data.text_sets import Texts
from nclib.features.backbones import LAST, Backbone
from nclib.features.encoders import TextEncoder
from nclib.features.extraction import extract_layers
from nclib.features.heads import headless
from nclib.metrics.measurement import Measurement, measured
from nclib.models.hub import missing
from nclib.models.names import model_names, refuse_all, repository
from nclib.models.pretrained import backbone
from nclib.models.text_encoders import encoder_names, encoder_repository, text_encoder, text_layers
from nclib.transferability.certainty import Again, Certainty, again, certainty, parts_of, resampled, shuffled_notes
from nclib.transferability.over_layers import Chosen, Layers, check_layers, layers_of, over_layers
from nclib.transferability.probes import Probes, compared, over_chosen, probed
from nclib.transferability.ranked import Ranking as Ranking, ties
from nclib.transferability.registry import OVER_MODELS, SCORES, chosen_scores, higher_is_better, with_sums
from nclib.transferability.source_scores import source_probabilities

Model = str | Backbone | TextEncoder
Given = Model | nn.Module
Scored = Mapping[str, Measurement]  # the scores of a model, by layer
Features = Mapping[str, tuple[torch.Tensor, torch.Tensor | None]]  # (N, d), and source probabilities, by layer
Looks = Mapping[str, Again]  # the score that models are sorted by, computed again, by layer
_OF_A_MODEL = (ValueError, TypeError, OSError, ImportError, RuntimeError)  # what a model may fail with


def rank_models(
    models: Given | Iterable[Given],
    images: Any,
    *,
    scores: Iterable[str] | None = None,
    by: str | None = None,
    layers: Layers = LAST,
    verify: int = 0,
    sure: bool = True,
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
        For images: names as in `nclib.backbone`, wildcards and ``popular`` as in `nclib.model_names`, a `Backbone`, or
        any module, which is named after its class. For texts: names as in `nclib.text_encoder`, ``popular``, or the
        encoders that it returns. A wrong name is an error; a model that fails is reported, and the others go on.
    images
        The task's training images, of any kind that `nclib.labelled` takes, or `Texts`; a few dozen per class suffice.
    scores
        Names from `nclib.SCORES` and `nclib.OVER_MODELS`. None computes all but the slow ones; "all" includes those.
    by
        The score to sort by; None is FaCe, or LogME if there are fewer than three classes or models.
    layers
        The layers that are scored, in one pass of each model. ``last`` is what the classifier sees. ``best`` takes, for
        each score, the best value over the model's `layers` and the last, and ``mean`` the mean over them. A list of
        names and places of layers takes the best value over these. Scores over models are scaled over all models and
        layers together. Scores that need the source classifier use the last layer only.
    verify
        How many of the best models are sorted again, by the accuracy of a linear probe on a held-out fifth of the
        images. The ranking's `probes` says how certain these accuracies are.
    sure
        Whether the ranking's `certainty` says how certain it is. For this, the score that it is sorted by is computed
        again without each of 20 blocks of the images, and 19 times with shuffled labels. That takes as long as forty
        computations of the score, and memory for one more copy of the features. Scores that are computed only on
        request, and scores that do not use the images, have no certainty.
    source_accuracy
        Known accuracies of models on their source data, in [0, 1], by name; they serve as one more score.
    cache
        A folder that keeps features of images, as in `nclib.extract`.
    half
        Whether features of images are computed in half precision, as in `nclib.extract`.
    progress
        Show progress bars.
    loading
        How named models are loaded: `weights`, `imports` and `device` as in `nclib.backbone`, or `device` and
        `data_root` as in `nclib.text_encoder`.

    Returns
    -------
    Ranking
        The models with their scores, the best first, and what failed.

    Raises
    ------
    ValueError
        If all images are of one class, if the name of a model or score is unknown, or if every model failed.
    TypeError
        For anything that is not a model.
    FileNotFoundError
        If the files of a model are missing.

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
    images = images if isinstance(images, Texts) else with_labels(images)
    _check_asked(images, layers, verify, sure)
    how = _checked_loading(loading, isinstance(images, Texts))
    given = _by_name(models, accuracies, isinstance(images, Texts), how)
    likely = by or _likely(names, len(given), len(images.labels.unique()))

    def features(name: str) -> Features:
        return _features(given[name], images, layers, how, {"cache": cache, "half": half, "progress": progress})

    def look(name: str) -> tuple[Scored, Looks]:
        found, accuracy = features(name), {"source_accuracy": accuracies.get(name)}
        scored = {layer: _scores(names, *of_layer, images, accuracy) for layer, of_layer in found.items()}
        return scored, _again(likely, found, images) if sure else {}

    looked, seconds, failures = _all_looked_at(given, look, progress)
    found = {name: scored for name, (scored, _) in looked.items()}
    looks = {name: again for name, (_, again) in looked.items()}
    by_layer, table, chosen, by = _sorted(found, layers, by, seconds)
    notes = {name: lines for name, values in found.items() if (lines := _notes(values))}
    if sure and by != likely:  # for a model failed, or has no value of what was to be sorted by
        looks = {name: _again(by, features(name), images) for name in table.index}
    certain = _certainty(by_layer, looks, by, layers, images, notes) if sure else None
    verified, probes = min(verify, len(table)), None
    if verified:
        table, chosen, probes = _verified(table, chosen, verified, features, layers, images, notes)
    _add_notes(notes, ties(table, by, verified))
    if chosen:
        table.insert(0, "layer", [chosen[name].get(by) for name in table.index])
    several, kind = None if layers == LAST else by_layer, "texts" if isinstance(images, Texts) else "images"
    return Ranking(table, by, verified, failures, notes, chosen, several, certain, probes, kind)


def _check_asked(images: Any, layers: Any, verify: Any, sure: Any) -> None:
    """Refuse images of one class, and what the other arguments of `rank_models` may not be."""
    if len(images.labels.unique()) < 2:
        name = images.classes[int(images.labels[0])]
        what = "texts" if isinstance(images, Texts) else "images"
        raise ValueError(f"the {what} are all of one class, {name}; a ranking needs at least 2 classes")
    check_layers(layers)
    check_whole(0, verify=verify)
    if not isinstance(sure, bool):
        raise ValueError(f"sure is {sure!r}; it must be True or False")


def _sorted(
    found: Mapping[str, Scored], layers: Layers, by: str | None, seconds: Mapping[str, float]
) -> tuple[pd.DataFrame, pd.DataFrame, Chosen, str]:
    """The scores by model and layer; those by model, the best first, and their layers; and what they are sorted by."""
    by_layer = with_sums(_table(found))
    table, chosen = over_layers(by_layer, layers)
    table = table.rename_axis(None)
    table["seconds"] = pd.Series(seconds)
    by = by or _usual(table.columns, len(table))
    _check_found(table, by, found)
    return by_layer, table.sort_values(by, ascending=not higher_is_better(by), kind="stable"), chosen, by


def _again(by: str, found: Features, images: Any) -> Looks:
    """The parts of a score computed again, by layer; empty for a score that is not computed again."""
    if not resampled(by):
        return {}
    return {
        layer: again(parts_of(by), features, images.labels, {"probabilities": probabilities})
        for layer, (features, probabilities) in found.items()
    }


def _certainty(
    table: pd.DataFrame, looks: Mapping[str, Looks], by: str, layers: Layers, images: Any, notes: dict[str, list[str]]
) -> Certainty | None:
    """How certain the ranking is; None if that is unknown: then each model with a value gets a note that says why."""
    found = {(name, layer): again for name, of_layers in looks.items() for layer, again in of_layers.items()}
    models = table[by].dropna().index.unique("model")
    try:
        certain = certainty(table, found, by, layers, images.labels, images.classes)
    except ValueError as why:
        _add_notes(notes, {name: [f"it is not known how sure its {by} is: {why}"] for name in models})
        return None
    _add_notes(notes, {name: [*certain.notes] for name in models})
    _add_notes(notes, shuffled_notes(certain, by))
    return certain


def _verified(
    table: pd.DataFrame,
    chosen: Chosen,
    number: int,
    features: Callable[[str], Features],
    layers: Layers,
    images: Any,
    notes: dict[str, list[str]],
) -> tuple[pd.DataFrame, Chosen, Probes | None]:
    """The table with its first models sorted by the accuracies of linear probes, the layers, and the `Probes`."""
    scored, hits = _probed(table.index[:number], features, images)
    _add_notes(notes, {name: _notes(each) for name, each in scored.items()})
    values, layer = over_layers(_table(scored).reindex(columns=["probe_accuracy"]), layers)
    over = {name: over_chosen(right, layer.get(name, {}).get("probe_accuracy")) for name, right in hits.items()}
    probes = compared({name: right for name, right in over.items() if right is not None})
    table["probe_accuracy"] = values["probe_accuracy"].reindex(table.index)
    first = table[:number].sort_values("probe_accuracy", ascending=False, kind="stable")
    chosen = {name: {**scores, **layer.get(name, {})} for name, scores in chosen.items()}
    return pd.concat([first, table[number:]]), chosen, probes


def _probed(
    names: Iterable[str], features: Callable[[str], Features], images: Any
) -> tuple[dict[str, Scored], dict[str, dict[str, torch.Tensor | None]]]:
    """Accuracies of linear probes of some models, by layer, and which held-out images the probes predict right."""
    found = {
        name: {layer: probed(rows, images.labels, images.classes) for layer, (rows, _) in features(name).items()}
        for name in names
    }
    scores: dict[str, Scored] = {
        name: {layer: scored for layer, (scored, _) in each.items()} for name, each in found.items()
    }
    return scores, {name: {layer: hits for layer, (_, hits) in each.items()} for name, each in found.items()}


def _scores(
    names: list[str], features: torch.Tensor, probabilities: torch.Tensor | None, images: Any, more: dict[str, Any]
) -> Measurement:
    """The scores of one layer: all that were asked for and whose inputs are known."""
    more = {"probabilities": probabilities, **more}
    unknown = {part for part, value in more.items() if value is None}
    known = [name for name in names if unknown.isdisjoint(SCORES[name].inputs)]
    return measured(SCORES, known, features, images.labels, more, classes=images.classes, strict=False)


def _table(found: Mapping[str, Scored]) -> pd.DataFrame:
    """One row for each model and layer."""
    rows = {(name, layer): _telling(values) for name, scored in found.items() for layer, values in scored.items()}
    return pd.DataFrame(rows).T.rename_axis(["model", "layer"])


def _check_found(table: pd.DataFrame, by: str, found: Mapping[str, Scored]) -> None:
    """Refuse to sort by a score of which no model has a value."""
    if by not in table:
        lone = "; it takes two models or more" if by in OVER_MODELS and len(table) < 2 else ""
        raise ValueError(f"{by} is not among the scores found: {', '.join(table.columns.drop('seconds'))}{lone}")
    if table[by].isna().all():
        notes = [note for scored in found.values() for values in scored.values() for note in values.notes]
        why = next((note for note in notes if re.search(rf"\b{by}\b", note)), f"no model has a value of {by}")
        raise ValueError(f"{why}; give more images, or sort by another score")


def _notes(scored: Scored) -> list[str]:
    """The notes on a model's scores, each with the layers that it concerns if there are several."""
    if [*scored] == [LAST]:
        return [*scored[LAST].notes]
    about: dict[str, list[str]] = {}
    for layer, values in scored.items():
        for note in values.notes:
            about.setdefault(note, []).append(layer)
    return [f"{note} (layer {few(layers)})" for note, layers in about.items()]


def _add_notes(notes: dict[str, list[str]], more: Mapping[str, list[str]]) -> None:
    """Add further notes on models, without repeating any."""
    for name, lines in more.items():
        if new := [line for line in lines if line not in notes.get(name, ())]:
            notes[name] = [*notes.get(name, ()), *new]


def _telling(values: Measurement) -> dict[str, float]:
    """The scores of a model, with NaN for those that say nothing."""
    return {name: math.nan if name in values.empty else value for name, value in values.items()}


def _by_name(models: Any, accuracies: Mapping[str, float], of_texts: bool, how: Mapping[str, Any]) -> dict[str, Model]:
    """The models by their names, which must differ; ValueError for unknown names."""
    models = _listed(models)
    meant: Callable[[Any], list[str]] = (
        partial(encoder_names, data_root=how.get("data_root"))
        if of_texts
        else partial(model_names, **{name: how[name] for name in ("weights", "imports") if name in how})
    )
    meant([model for model in models if isinstance(model, str)])  # all that are wrong, at once
    known = [each for model in models for each in (meant(model) if isinstance(model, str) else [model])]
    known = [each for i, each in enumerate(known) if not isinstance(each, str) or each not in known[:i]]
    given = {_name(each): each for each in known}
    if len(given) < len(known):
        twice = few([name for name in given if sum(name == _name(each) for each in known) > 1])
        cure = "" if of_texts else ": nclib.Backbone(name, model, transform)"
        raise ValueError(f"several models are called {twice}; each needs a name of its own{cure}")
    _check_hub([each for each in known if isinstance(each, str)], encoder_repository if of_texts else repository)
    if unknown := accuracies.keys() - given.keys():
        raise ValueError(f"source_accuracy has {', '.join(sorted(unknown))}, which is not among the models")
    return given


def _check_hub(names: list[str], place: Callable[[str], str | None]) -> None:
    """Refuse names of the hub that cannot be fetched, before the first model is read, because a ranking takes long."""
    places = dict.fromkeys(found for name in names if (found := place(name)) is not None)
    refuse_all([why for found in places if (why := missing(found)) is not None])


def _listed(models: Any) -> list[Model]:
    """The models as a list, with modules as backbones; an error says what is wrong with them."""
    if isinstance(models, Mapping):
        raise TypeError("models are a dict; give a list of them: [nclib.Backbone(name, model, transform), ...]")
    alone = isinstance(models, Given) and not isinstance(models, nn.ModuleList)
    given = list(models) if isinstance(models, Iterable) and not alone else [models]
    if not given:
        raise ValueError("there are no models to rank; give at least one name")
    if wrong := [each for each in given if not isinstance(each, Given)]:
        raise TypeError(
            f"models hold {_brief(wrong[0])}; each must be a name, a Backbone or a module, or for texts a TextEncoder"
        )
    listed_names([each for each in given if isinstance(each, str)], "models")
    return [each if isinstance(each, str | TextEncoder) else Backbone.of(each) for each in given]


def _brief(given: Any) -> str:
    """Whatever else was given for a model, in one line: a module inside it would print many lines."""
    return repr(given) if isinstance(given, int | float | None) else f"a {type(given).__name__}"


def _checked_loading(options: Mapping[str, Any], of_texts: bool) -> dict[str, Any]:
    """The options of `backbone`, or of `text_encoder`."""
    if unknown := options.keys() - {"weights", "imports", "device", "data_root"}:
        raise TypeError(f"{', '.join(sorted(unknown))} is not an option; there are weights, imports, device, data_root")
    weights, imports = options.get("weights", "pretrained"), options.get("imports", ())
    if of_texts and (weights != "pretrained" or imports):
        given = [name for name, chosen in (("weights", weights != "pretrained"), ("imports", imports)) if chosen]
        raise ValueError(f"{' and '.join(given)} can be given for images only, and these are texts")
    if not of_texts and options.get("data_root"):
        raise ValueError(f"data_root is {str(options['data_root'])!r}; models of images do not use it: leave it out")
    own = ("device", "data_root") if of_texts else ("weights", "imports", "device")
    return {name: options[name] for name in own if name in options}


def _usual(scores: Sequence[str], models: int) -> str:
    """The score to sort by: FaCe. With two models FaCe has only the values 0, 1 and 2, so LogME."""
    usual = ("face", "logme") if models > 2 else ("logme",)
    return next((name for name in (*usual, *scores) if name in scores), "")


def _likely(names: Sequence[str], models: int, classes: int) -> str:
    """The score to sort by, from the names of those to compute, if all models have them; two classes have no FaCe."""
    sums = [name for name, parts in OVER_MODELS.items() if {*parts} <= {*names}]
    return _usual([*names, *sums], models if classes > 2 else 2)


def _all_looked_at(
    names: Iterable[str], look: Callable[[str], tuple[Scored, Looks]], progress: bool
) -> tuple[dict[str, tuple[Scored, Looks]], dict[str, float], dict[str, str]]:
    """The results of every model, the seconds that each took, and why other models failed, all by name."""
    found, seconds, failures = {}, {}, {}
    for name in tqdm(names, "rank models", disable=not progress, leave=False):
        start = time.perf_counter()
        try:
            found[name] = look(name)
        except _OF_A_MODEL as error:
            failures[name] = str(error)
        else:
            seconds[name] = time.perf_counter() - start
    if not found:
        raise ValueError("no model could be scored: " + "; ".join(f"{name}: {why}" for name, why in failures.items()))
    return found, seconds, failures


def _features(model: Any, images: Any, layers: Layers, how: dict[str, Any], extracting: dict[str, Any]) -> Features:
    """A model's features (N, d) by layer, each with its source classifier's probabilities (last layer), or None."""
    _check_kind(model, images)
    if isinstance(images, Texts):
        encoder = text_encoder(model, **how) if isinstance(model, str) else model
        found = text_layers(encoder, images.texts, layers_of(encoder, layers), progress=extracting["progress"])
        return {layer: (features, None) for layer, features in found.items()}
    given = backbone(model, **how) if isinstance(model, str) else model
    asked = layers_of(given, layers)
    made = headless(given)
    found = extract_layers(made, images, asked, **extracting)
    return {
        layer: (features, source_probabilities(made, features) if layer == LAST else None)
        for layer, features in found.items()
    }


def _check_kind(model: Any, images: Any) -> None:
    kind, what = (TextEncoder, "texts") if isinstance(images, Texts) else (Backbone, "images")
    if not isinstance(model, str | kind):
        cure = ": nclib.TextEncoder(name, model, tokenizer, 'mean')" if kind is TextEncoder else ""
        raise TypeError(f"it is a {type(model).__name__}; {what} need a {kind.__name__}, or the name of one{cure}")


def _name(model: Model) -> str:
    return model if isinstance(model, str) else model.name
