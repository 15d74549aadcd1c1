"""Linear probes of the first models of a ranking on the same held-out samples, and which models these tell apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from nclib.metrics.measurement import Measurement, measured
from nclib.transferability.feature_scores import probe_hits
from nclib.transferability.registry import SCORES

_LEVEL = 0.05


@dataclass(frozen=True)
class Probes:
    """Accuracies of linear probes on the same held-out samples.

    The interval is Wilson's. On average it contains the accuracy in 95 of 100 cases, even with a dozen samples; the
    exact interval of Clopper and Pearson is wider than necessary. Models are compared in pairs by McNemar's exact test,
    on the samples that the probe of only one of the two gets right. This is more powerful than comparing intervals.

    Attributes
    ----------
    table
        One row per model, the most accurate first: ``accuracy``, the ends ``low`` and ``high`` of its 95% interval, and
        ``p_same``, the p-value of being as accurate as the first model; NaN for the first model itself.
    held_out
        The number of samples.
    """

    table: pd.DataFrame
    held_out: int

    @property
    def rivals(self) -> list[str]:
        """The models that cannot be told apart from the first.

        >>> Probes(pd.DataFrame({"p_same": [float("nan"), 0.5, 0.001]}, index=["ours", "theirs", "other"]), 60).rivals
        ['theirs']
        """
        return [str(name) for name, p in self.table["p_same"].items() if p > _LEVEL]

    def to_dict(self) -> dict[str, Any]:
        """The number of held-out samples, and the accuracy, interval and p-value by model, in plain Python types."""
        models = {
            str(name): {
                "accuracy": float(row["accuracy"]),
                "interval": [float(row["low"]), float(row["high"])],
                "p_same": float(row["p_same"]),
            }
            for name, row in self.table.iterrows()
        }
        return {"held_out": self.held_out, "models": models}


def probed(features: Tensor, labels: Tensor, classes: Sequence[str]) -> tuple[Measurement, Tensor | None]:
    """The probe accuracy of features (N, d) with notes, and which held-out samples were predicted right, bool (n,)."""
    hits: list[Tensor] = []

    def accuracy(features: Any, labels: Any) -> float:
        hits.append(probe_hits(features, labels))
        return float(hits[0].double().mean())

    registry = {"probe_accuracy": replace(SCORES["probe_accuracy"], compute=accuracy)}
    found = measured(registry, ["probe_accuracy"], features, labels, {}, classes=classes, strict=False)
    return found, hits[0].cpu() if hits else None


def compared(hits: Mapping[str, Tensor]) -> Probes | None:
    """The `Probes` of models, by name, from their hits (n,) on the same samples, with the most accurate model first.

    A hit is 0, 1, or a mean over layers. None if there are no models.

    Examples
    --------
    >>> right = torch.ones(20)
    >>> found = compared({"ours": right, "theirs": right.index_fill(0, torch.arange(3), 0)})
    >>> found.table.round(2).loc["theirs"].tolist(), found.rivals
    ([0.85, 0.64, 0.95, 0.25], ['theirs'])
    """
    from scipy.stats import binomtest

    if not hits:
        return None
    first, rows = next(iter(hits.values())), {}
    for name, right in hits.items():
        accuracy, number = float(right.double().mean()), len(right)
        ends = binomtest(round(accuracy * number), number).proportion_ci(method="wilson")
        p = float("nan") if right is first else _p_of_pairs(first, right)
        rows[name] = {"accuracy": accuracy, "low": float(ends.low), "high": float(ends.high), "p_same": p}
    return Probes(pd.DataFrame.from_dict(rows, orient="index"), len(first))


def _p_of_pairs(first: Tensor, second: Tensor) -> float:
    """The two-sided p-value of McNemar's exact test: a sign test of the samples on which two models differ."""
    from scipy.stats import binomtest

    better, worse = int((first > second).sum()), int((first < second).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def over_chosen(hits: Mapping[str, Tensor | None], layer: str | None) -> Tensor | None:
    """The hits of one layer; the mean over all layers with hits if `layer` is None."""
    found = [right for name, right in hits.items() if right is not None and layer in (None, name)]
    return torch.stack(found).double().mean(0) if found else None
