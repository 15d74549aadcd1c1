"""The registry of collapse metrics behind `nclib.measure`, its tables and the book's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from torch import Tensor

from nclib.metrics import pairs, ranks, simplex, variability
from nclib.metrics.statistics import Covariance

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True)
class Metric:
    """One collapse metric or transferability score: how to compute it, what it means, where it comes from.

    Parameters
    ----------
    name, compute
        Its name in every table, and the function that returns its value.
    formula, range, source
        Texts for a reader, in the notation of the docstring of `compute`.
    better, meaning
        The better direction ("lower", "higher" or "neither"), and what that direction means, by default
        "more collapsed".
    inputs, optional
        The arguments of `compute`, in order, among stats, features, labels, weight, bias, probabilities,
        source_accuracy and class_ranks (the result of `class_ranks`); the optional ones may be None.
    covariance
        How much of the pooled covariance it needs: a `covariance` of `ClassStatistics`.
    on_request
        Whether `measure` computes it only when asked, because it needs a d x d matrix or another pass over the
        features, or because few readers need it. (nc4 needs a pass too, but whoever gives a classifier needs it.)

    Examples
    --------
    >>> METRICS["nc1"].formula, METRICS["nc1"].reading
    ('tr(Σ_W Σ_B⁺) / K', '[0, ∞), lower is more collapsed')
    """

    name: str
    compute: Callable[..., float]
    formula: str
    range: str
    better: Better
    source: str
    inputs: tuple[str, ...] = ("stats",)
    optional: tuple[str, ...] = ()
    covariance: Covariance = "diagonal"
    on_request: bool = False
    meaning: str = "more collapsed"
    takes_samples: bool = field(default=False, init=False, compare=False)  # checked `Samples` instead of features

    @property
    def reading(self) -> str:
        """Range and direction, in words."""
        return f"{self.range}" + ("" if self.better == "neither" else f", {self.better} is {self.meaning}")


def shipped(*fields: Any, **more: Any) -> Metric:
    """A metric of nclib, which takes checked `Samples`; metrics of users, even copies by `replace`, take features."""
    metric = Metric(*fields, **more)
    object.__setattr__(metric, "takes_samples", True)
    return metric


def _class_rank(kind: str, class_ranks: Mapping[str, Tensor]) -> float:
    return float(class_ranks[kind].mean())


def _metric(name: str, compute: Callable[..., float], formula: str, range: str, source: str, **more: Any) -> Metric:
    return shipped(name, compute, formula, range, more.pop("better", "lower"), source, **more)


_OF_CLASSES = {"inputs": ("class_ranks",), "on_request": True, "better": "neither"}
_COVARIANCE = {"covariance": "full", "on_request": True}
_WEIGHT = {"inputs": ("weight",)}
_PAIRS = "mean over pairs of "
_REPULSION = "ln(1 / ‖û_i − û_j‖), û of the means"
_ETF = "‖G / ‖G‖ − E / ‖E‖‖, G of the "
_ANGLES = "mean over pairs of |cos + 1 / (K − 1)|, "

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _metric("nc1", variability.nc1, "tr(Σ_W Σ_B⁺) / K", "[0, ∞)", "Papyan 2020, Zhu 2021", covariance="span"),
        _metric("nc1_ratio", variability.nc1_ratio, "tr Σ_W / tr Σ_B", "[0, ∞)", "Li 2022"),
        _metric("cdnv", pairs.cdnv, _PAIRS + "(V_i + V_j) / (2 ‖μ_i − μ_j‖²)", "[0, ∞]", "Galanti 2022"),
        _metric(
            "directional_cdnv",
            pairs.directional_cdnv,
            _PAIRS + "uᵀ Σ_i u / ‖μ_i − μ_j‖²",
            "[0, cdnv]",
            "Luthra 2026",
            inputs=("stats", "features", "labels"),
            on_request=True,
        ),
        _metric(
            "directional_cdnv_pooled",
            pairs.directional_cdnv_pooled,
            _PAIRS + "uᵀ Σ_W u / ‖μ_i − μ_j‖²",
            "[0, ∞]",
            "ours, after Luthra 2026",
            **_COVARIANCE,
        ),
        _metric("overlap", pairs.overlap, _PAIRS + "exp(−D_B), spherical Gaussians", "[0, 1]", "Pandy 2022"),
        _metric("vci", variability.vci, "1 − tr(Σ_T⁺ Σ_B) / rank Σ_B", "[0, 1]", "Xu 2023", **_COVARIANCE),
        _metric(
            "stable_rank",
            ranks.stable_rank,
            "Σ s² / max s²",
            "[1, d]",
            "Rudelson 2007",
            better="neither",
            **_COVARIANCE,
        ),
        _metric("effective_rank", ranks.effective_rank, "exp entropy of s / Σ s", "[1, d]", "Roy 2007", **_COVARIANCE),
        *(
            _metric(
                f"class_{kind}_rank",
                partial(_class_rank, kind),
                f"mean over classes of {form}",
                "[0, d]",
                source,
                **_OF_CLASSES,
            )
            for kind, form, source in (
                ("stable", "Σ s² / max s²", "Rudelson 2007"),
                ("numerical", "(Σ s)² / Σ s²", "ours, for Li 2022"),
                ("effective", "exp entropy of s / Σ s", "Roy 2007"),
            )
        ),
        _metric("nc2", simplex.nc2, _ETF + "means", "[0, √2]", "Papyan 2020, Zhu 2021"),
        _metric("nc2_equinorm", simplex.nc2_equinorm, "std / mean of ‖μ_k − μ_G‖", "[0, √(K − 1)]", "Papyan 2020"),
        _metric("nc2_equiangularity", simplex.nc2_equiangularity, _ANGLES + "means", "[0, K / (K − 1)]", "Papyan 2020"),
        _metric("nc2_weight", simplex.nc2, _ETF + "weight", "[0, √2]", "Zhu 2021", **_WEIGHT),
        _metric(
            "nc2_weight_equinorm",
            simplex.nc2_equinorm,
            "std / mean of ‖w_k‖",
            "[0, √(K − 1)]",
            "Papyan 2020",
            **_WEIGHT,
        ),
        _metric(
            "nc2_weight_equiangularity",
            simplex.nc2_equiangularity,
            _ANGLES + "weight",
            "[0, K / (K − 1)]",
            "Papyan 2020",
            **_WEIGHT,
        ),
        _metric("gnc2", simplex.gnc2, "std / |mean| of " + _REPULSION, "[0, ∞]", "Wu 2024", on_request=True),
        _metric(
            "gnc2_energy",
            simplex.gnc2_energy,
            _PAIRS + _REPULSION,
            "[−ln(2K / (K − 1)) / 2, ∞)",
            "Liu 2023",
            on_request=True,
        ),
        _metric("nc3", simplex.nc3, "‖W Mᵀ / ‖W Mᵀ‖ − E / ‖E‖‖", "[0, 2]", "Zhu 2021", inputs=("stats", "weight")),
        _metric(
            "unc3",
            simplex.unc3,
            "std / |mean| of cos(w_k, μ_k − μ_G)",
            "[0, ∞]",
            "Wu 2024",
            inputs=("stats", "weight"),
            on_request=True,
        ),
        _metric(
            "nc4",
            simplex.nc4,
            "share decided for the nearest class mean",
            "[0, 1]",
            "Papyan 2020",
            better="higher",
            inputs=("stats", "features", "weight"),
            optional=("bias",),
        ),
    )
}
