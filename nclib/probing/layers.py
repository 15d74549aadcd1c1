"""Collapse and accuracy along the depth of a model."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from sklearn.base import clone
from torch import nn

from nclib.checks import few
from nclib.data.images import ImageFiles, ImageSet
from nclib.features.backbones import LAST, Backbone
from nclib.features.extraction import extract_layers
from nclib.features.heads import headless
from nclib.metrics.measurement import measure
from nclib.probing.linear import LinearProbe
from nclib.probing.probe import given_to, to_numpy


def layerwise(
    model: Backbone | nn.Module,
    train: ImageSet | ImageFiles,
    test: ImageSet | ImageFiles,
    *,
    layers: Sequence[str | int] | None = None,
    metrics: Sequence[str] = ("nc1", "nc1_ratio", "cdnv"),
    probe: Any = None,
    **options: Any,
) -> pd.DataFrame:
    """One row a layer, in order of depth: its width, metrics on the training images, and `accuracy` of a probe.

    Parameters
    ----------
    model, train, test
        The images of a task; the probe is fitted to those for training and scored on the others.
    layers
        As of `extract_layers`; None is all of `Backbone.layers`, and the last.
    metrics
        Names of `nclib.METRICS` that class statistics suffice for.
    probe
        Any scikit-learn classifier; None is `LinearProbe`.
    options
        As of `extract_layers`: ``cache``, ``batch_size``, ``progress``, ...

    Examples
    --------
    >>> from nclib import backbone, load
    >>> model = backbone("test_vit", weights="random", device="cpu")
    >>> images = [load("digits", split, per_class=5) for split in ("train", "test")]
    >>> layerwise(model, *images, layers=[0, "last"])[["num_features"]].to_dict()
    {'num_features': {'blocks.0': 64, 'last': 64}}
    """
    for name, images in (("train", train), ("test", test)):
        if not isinstance(images, ImageSet | ImageFiles):
            raise TypeError(
                f"{name} is {type(images).__name__}; it must be an ImageSet or ImageFiles, as nclib.load gives"
            )
    model = headless(model)
    if train.classes != test.classes:
        raise ValueError(f"the classes of train and test differ: {few(train.classes)}, and {few(test.classes)}")
    layers = (*model.layers, LAST) if layers is None else layers
    features, test_features = (extract_layers(model, images, layers, **options) for images in (train, test))
    rows = {}
    for layer, values in features.items():
        fitted = clone(LinearProbe() if probe is None else probe)
        fitted.fit(given_to(fitted, values), to_numpy(train.labels))
        accuracy = fitted.score(given_to(fitted, test_features[layer]), to_numpy(test.labels))
        collapse = measure(values, train.labels, metrics=metrics)
        rows[layer] = {"num_features": values.shape[1], **collapse, "accuracy": accuracy}
    return pd.DataFrame.from_dict(rows, orient="index")
