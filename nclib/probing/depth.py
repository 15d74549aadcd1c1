"""Collapse and accuracy along the depth of a model."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from sklearn.base import clone
from torch import nn

from nclib.checks import few
from nclib.data.kinds import with_labels
from nclib.data.text_sets import Texts
from nclib.features.backbones import LAST, Backbone
from nclib.features.encoders import TextEncoder, encoded
from nclib.features.extraction import extract_layers
from nclib.features.forward import Outputs
from nclib.features.heads import headless
from nclib.metrics.measurement import measure
from nclib.probing.linear import LinearProbe
from nclib.probing.probe import check_probe, given_to, to_numpy


def layerwise(
    model: Backbone | TextEncoder | nn.Module,
    train: Any,
    test: Any,
    *,
    layers: Sequence[str | int] | None = None,
    metrics: Sequence[str] = ("nc1", "nc1_ratio", "cdnv"),
    probe: Any = None,
    **options: Any,
) -> pd.DataFrame:
    """Collapse and probe accuracy of each layer of a model, as a table with one row per layer, in order of depth.

    The columns are `num_features`, the metrics on the training data (`nclib.METRICS` says their range and direction),
    and the `accuracy` of the probe on the test data, in [0, 1]; higher is better.

    Parameters
    ----------
    model, train, test
        A model of images with labelled images of any kind that `nclib.labelled` takes, or an encoder of texts with
        `Texts`. The probe is fitted to `train` and scored on `test`.
    layers
        As in `extract_layers` or `text_layers`; None is all of the model's `layers`, and the last.
    metrics
        Names from `nclib.METRICS` that class statistics suffice for.
    probe
        Any scikit-learn classifier; None is `LinearProbe()`.
    options
        For images those of `extract_layers` (``cache``, ``batch_size``, ``progress``, ...), for texts those of
        `text_layers`.

    Raises
    ------
    ValueError
        If train and test have other classes, train has a single class, a layer is unknown, or a metric is undefined.
    TypeError
        If images have no labels, texts are not `Texts`, or the probe is not an estimator.

    Examples
    --------
    >>> from nclib import backbone, load
    >>> model = backbone("test_vit", weights="random", device="cpu")
    >>> images = [load("digits", split, per_class=5) for split in ("train", "test")]
    >>> layerwise(model, *images, layers=[0, "last"])[["num_features"]].to_dict()
    {'num_features': {'blocks.0': 64, 'last': 64}}
    """
    check_probe(probe)
    if isinstance(model, TextEncoder):
        _check_texts(train=train, test=test)
    else:
        train = with_labels(train, "train")
        test = with_labels(test, "test", train.classes)
    if train.classes != test.classes:
        raise ValueError(f"the classes of train and test differ: {few(train.classes)}, and {few(test.classes)}")
    if len(seen := train.labels.unique()) < 2:
        raise ValueError(f"train has one class, {train.classes[int(seen[0])]}; collapse compares at least 2")
    features, test_features = _features(model, (train, test), layers, options)
    rows = {}
    for layer, values in features.items():
        fitted = clone(LinearProbe() if probe is None else probe)
        fitted.fit(given_to(fitted, values), to_numpy(train.labels))
        accuracy = fitted.score(given_to(fitted, test_features[layer]), to_numpy(test.labels))
        collapse = measure(values, train.labels, metrics=metrics, classes=train.classes)
        rows[layer] = {"num_features": values.shape[1], **collapse, "accuracy": accuracy}
    return pd.DataFrame.from_dict(rows, orient="index")


def _check_texts(**given: Any) -> None:
    for name, texts in given.items():
        if not isinstance(texts, Texts):
            raise TypeError(
                f"{name} is {type(texts).__name__}; for an encoder of texts it must be Texts, as nclib.texts returns"
            )


def _features(model: Any, tasks: tuple[Any, Any], layers: Sequence[str | int] | None, options: Any) -> list[Outputs]:
    """The features of the training and the test data, by layer."""
    if isinstance(model, TextEncoder):
        given = (*model.layers, LAST) if layers is None else layers
        return [encoded(model, each.texts, given, **options) for each in tasks]
    model = headless(model)
    given = (*model.layers, LAST) if layers is None else layers
    return [extract_layers(model, each, given, **options) for each in tasks]
