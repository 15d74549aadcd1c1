"""Combine the scores of several layers of each model into the best, or the mean, of each score."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nclib.features.backbones import LAST, listed
from nclib.transferability.registry import higher_is_better

Layers = str | Sequence[str | int]
Chosen = Mapping[str, Mapping[str, str]]  # the layer that gave a score, by model and score
_WORDS = (LAST, "best", "mean")


def check_layers(layers: Any) -> None:
    """Refuse anything but 'last', 'best', 'mean' or a list of layers."""
    if isinstance(layers, str) and layers in _WORDS:
        return
    try:
        listed(layers)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"layers are {layers!r}; they must be 'last', 'best', 'mean', or a list of names and places such as "
            "['layer3', -1]"
        ) from error


def layers_of(model: Any, layers: Layers) -> list[str | int]:
    """The layers of a model to score: for "best" and "mean" all of its blocks, and the last."""
    if isinstance(layers, str):
        return [LAST] if layers == LAST else [*model.layers, LAST]
    return listed(layers)


def over_layers(table: pd.DataFrame, layers: Layers) -> tuple[pd.DataFrame, Chosen]:
    """Reduce one row per model and layer to one row per model, and name the layer of each best score.

    Layers without a value of a score do not count; of equally good layers the deepest wins.

    Examples
    --------
    >>> rows = pd.MultiIndex.from_product([["ours"], ["layer1", "last"]], names=["model", "layer"])
    >>> table = pd.DataFrame({"gbc": [-2.0, -9.0], "cdnv": [3.0, 1.0]}, index=rows)
    >>> best, chosen = over_layers(table, "best")
    >>> best.loc["ours"].to_dict(), chosen
    ({'gbc': -2.0, 'cdnv': 1.0}, {'ours': {'gbc': 'layer1', 'cdnv': 'last'}})
    >>> over_layers(table, "mean")[0].loc["ours"].to_dict()
    {'gbc': -5.5, 'cdnv': 2.0}
    """
    if layers == LAST:
        return table.droplevel("layer"), {}
    models = table.index.unique("model")
    if layers == "mean":
        return table.groupby(level="model", sort=False).mean().loc[models], {}
    values: dict[Any, pd.Series] = {}
    chosen: dict[Any, dict[str, str]] = {model: {} for model in models}
    for score, found in table[::-1].items():  # the deepest first
        turned = (found if higher_is_better(str(score)) else -found).dropna()
        best = turned.groupby(level="model", sort=False).idxmax()
        values[score] = pd.Series({model: found[row] for model, row in best.items()}, dtype=float).reindex(models)
        for model, (_, layer) in best.items():
            chosen[model][str(score)] = layer
    return pd.DataFrame(values, index=models), chosen
