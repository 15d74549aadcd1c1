"""The registry of transferability scores, and `score`, which computes them for one model."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal

import pandas as pd
import torch

from nclib.arrays import as_tensor
from nclib.checks import is_number, listed_names, similar
from nclib.labels import Names
from nclib.metrics import pairs, ranks, variability
from nclib.metrics.measurement import Measurement, measured
from nclib.metrics.registry import Metric, shipped
from nclib.transferability import class_scores, feature_scores, pair_scores, source_scores

_FEATURES = {"inputs": ("features", "labels")}
_SLOW = _FEATURES | {"on_request": True}
_ALONE = _SLOW | {"inputs": ("features",)}
_SOURCE = {"inputs": ("probabilities", "labels")}
_FULL = {"covariance": "full"}  # also for scores of features whose statistics they reuse


def _score(name: str, compute: Callable[..., float], formula: str, range: str, source: str, **more: Any) -> Metric:
    better = more.pop("better", "higher")
    return shipped(name, compute, formula, range, better, source, meaning="likelier to transfer", **more)


def _ncti_part(part: int, features: Any, labels: Any) -> float:
    return feature_scores.ncti_parts(features, labels)[part]


def _of_source(score: Callable[..., float], probabilities: Any, labels: Any) -> float:
    return score(probabilities=probabilities, labels=labels)


def _known_accuracy(source_accuracy: float) -> float:
    if not (is_number(source_accuracy) and 0 <= source_accuracy <= 1):
        raise ValueError(f"source_accuracy is {source_accuracy!r}; it must be from 0 to 1")
    return float(source_accuracy)


SCORES: Mapping[str, Metric] = {
    score.name: score
    for score in (
        _score(
            "variance_collapse",
            class_scores.variance_collapse,
            "−tr(Σ_W Σ_B⁺) / K",
            "(−∞, 0]",
            "Ding 2023",
            covariance="span",
        ),
        _score(
            "class_fairness",
            class_scores.class_fairness,
            "mean entropy of softmax(BC_ij / 0.05) / ln(K − 1)",
            "[0, 1]",
            "ours, for Ding 2023",
        ),
        _score("gbc", class_scores.gbc, "−Σ exp(−D_B), spherical Gaussians", "[−K(K − 1), 0]", "Pandy 2022"),
        _score("h_score", class_scores.h_score, "tr(Σ_T⁺ Σ_B)", "[0, K − 1]", "Bao 2019", **_FULL),
        _score("logme", class_scores.logme, "max log evidence / N", "(−∞, ∞)", "You 2021", **_FULL),
        _score("cdnv", pairs.cdnv, "mean CDNV", "[0, ∞]", "Galanti 2022", better="lower"),
        _score("vci", variability.vci, "1 − tr(Σ_T⁺ Σ_B) / rank Σ_B", "[0, 1]", "Xu 2023", better="lower", **_FULL),
        _score(
            "h_score_shrunk",
            feature_scores.h_score_shrunk,
            "(1 − a) tr(Σ_a⁻¹ Σ_B), Ledoit-Wolf",
            "[0, K − 1]",
            "Ibrahim 2021",
            **_FEATURES,
            **_FULL,
        ),
        _score("transrate", feature_scores.transrate, "R(Z) − Σ (n_k / N) R(Z_k)", "[0, ∞)", "Huang 2022", **_FEATURES),
        _score("sfda", feature_scores.sfda, "mean p(y | moved x)", "[0, 1]", "Shao 2022", **_FEATURES, **_FULL),
        *(
            _score(f"ncti_{name}", partial(_ncti_part, i), formula, range, "Wang 2023", **_SLOW)
            for i, (name, formula, range) in enumerate(
                (
                    ("spread", "‖LDA coordinates‖_*", "[0, ∞)"),
                    ("certainty", "mean p(y | x), LDA", "[0, 1]"),
                    ("collapse", "−ln Σ_k ‖p of class k‖_*", "(−∞, ∞)"),
                )
            )
        ),
        _score("nleep", source_scores.nleep, "LEEP of 5 K clusters", "(−∞, 0]", "Li 2021", **_SLOW),
        _score("parc", pair_scores.parc, "Spearman of 1 − Pearson and y_i ≠ y_j", "[−1, 1]", "Bolya 2021", **_SLOW),
        _score(
            "pactran",
            feature_scores.pactran,
            "min loss + K v / (2 c N) ln(1 + c N T / (K d))",
            "[0, ∞)",
            "Ding 2022",
            better="lower",
            **_SLOW,
        ),
        _score(
            "pactran_dirichlet",
            partial(_of_source, source_scores.pactran_dirichlet),
            "−variational log evidence / N",
            "[0, ∞)",
            "Ding 2022",
            better="lower",
            on_request=True,
            **_SOURCE,
        ),
        _score(
            "tmi",
            pair_scores.tmi,
            "mean (ψ(n_k) − ψ(1) + ln V_d) / d + ln r, r to the nearest of the class",
            "(−∞, ∞)",
            "ours, after Xu, Kang 2023",
            **_SLOW,
        ),
        _score("energy", feature_scores.energy, "mean ln Σ_j exp h_j", "(−∞, ∞)", "Gholami 2023", **_ALONE),
        _score(
            "lda_certainty",
            feature_scores.lda_certainty,
            "mean p(y | x), LDA",
            "[0, 1]",
            "Gholami 2023",
            **_SLOW,
            **_FULL,
        ),
        _score("rankme", ranks.rankme, "exp entropy of s / Σ s, not centred", "[0, d]", "Garrido 2023", **_ALONE),
        _score(
            "lidar",
            ranks.lidar,
            "exp entropy of λ / Σ λ, λ of (Σ_W + δ I)⁻¹ Σ_B",
            "[1, K − 1]",
            "Thilak 2024",
            **_SLOW,
        ),
        _score("probe_accuracy", feature_scores.probe_accuracy, "held-out accuracy", "[0, 1]", "usual", **_SLOW),
        _score(
            "leep",
            partial(_of_source, source_scores.leep),
            "mean ln Σ_z P(y | z) θ_z",
            "(−∞, 0]",
            "Nguyen 2020",
            **_SOURCE,
        ),
        _score(
            "source_accuracy", _known_accuracy, "accuracy on the source", "[0, 1]", "usual", inputs=("source_accuracy",)
        ),
        _score("nce", partial(_of_source, source_scores.nce), "−H(y | argmax θ)", "[−ln K, 0]", "Tran 2019", **_SOURCE),
    )
}

# Scores that compare models: the sum of these scores, each scaled to [0, 1] over the models.
OVER_MODELS: Mapping[str, tuple[str, ...]] = {
    "face": ("variance_collapse", "class_fairness"),
    "ncti": ("ncti_spread", "ncti_certainty", "ncti_collapse"),
    "etran": ("energy", "lda_certainty"),
}


def higher_is_better(name: str) -> bool:
    """Whether higher values of a score are better; they are for sums over models, too."""
    return name not in SCORES or SCORES[name].better == "higher"


def score(
    features: Any,
    labels: Any = None,
    *,
    probabilities: Any = None,
    source_accuracy: float | None = None,
    scores: Iterable[str] | Literal["all"] | None = None,
    classes: Names = None,
    progress: bool = False,
) -> Measurement:
    """Score how well a model may transfer, from its features (N, d) of the target's training images.

    Returns a `Measurement`: a mapping from the name of each score to its value, which prints as a table.

    Parameters
    ----------
    features, labels
        Float (N, d), and integers or texts (N,), or `ClassStatistics` alone, for the scores that follow from them.
    probabilities
        Probabilities (N, Z) of the source classes, the softmax of the source classifier's logits. LEEP, NCE and
        pactran_dirichlet need them.
    source_accuracy
        The model's accuracy on its source data, in [0, 1], if known: a score that does not use the features.
    scores
        Names from `nclib.SCORES`, which gives their range and direction; only what they need is computed. None computes
        every score that the arguments allow, except the slow ones marked `on_request`; "all" includes those.
    classes
        The names of the classes, in the order of their numbers; notes use them.
    progress
        Show a progress bar if the pass over the features takes more than a second.

    Raises
    ------
    ValueError
        If a score is unknown, undefined here although it was named, or needs what was not given; if fewer than two
        classes have samples, or all class means coincide; if shapes do not fit, or a value is NaN or infinite.
    TypeError
        If features are not floating point, or labels mix texts and numbers.

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.5], [1.0, -0.5], [-1.0, 0.5], [-1.0, -0.5], [0.0, 3.0], [0.0, 2.0]])
    >>> print(score(features, [0, 0, 1, 1, 2, 2], scores=["h_score", "cdnv"]))
    6 samples, 3 classes, 2 features
    h_score    1.84746  [0, K − 1], higher is likelier to transfer
    cdnv     0.0438218  [0, ∞], lower is likelier to transfer
    """
    given = None if probabilities is None else as_tensor(probabilities)
    more = {"probabilities": given, "source_accuracy": source_accuracy}
    return measured(SCORES, scores, features, labels, more, classes=classes, progress=progress)


def chosen_scores(scores: Iterable[str] | None, by: str | None) -> list[str]:
    """The scores to compute for each model: those asked for (else all but the slow ones), with the parts of sums."""
    known = (*SCORES, *OVER_MODELS)
    scores = known if scores == "all" else scores
    asked = [*listed_names(() if scores is None else scores, "scores"), *([by] if by else [])]
    if not isinstance(by, str | None):
        raise TypeError(f"by is {by!r}; it must be the name of one score")
    if unknown := [name for name in asked if name not in known]:
        near = similar(unknown[0], known)
        raise ValueError(f"{unknown[0]!r} is not a score{near}; the scores are {', '.join(known)}")
    usual = [] if scores is not None else [name for name, entry in SCORES.items() if not entry.on_request]
    return list(dict.fromkeys([*usual, *(part for name in asked for part in OVER_MODELS.get(name, (name,)))]))


def with_sums(table: pd.DataFrame, sums: Mapping[str, tuple[str, ...]] = OVER_MODELS) -> pd.DataFrame:
    """The table with the scores that are sums, scaled over its models, added if it has all of their parts."""
    found = {}
    for name, parts in sums.items():
        if len(table) > 1 and set(parts) <= set(table):
            values = torch.tensor(table[[*parts]].to_numpy(dtype=float))
            if not values.isnan().any():
                found[name] = class_scores.sum_over_models(values).numpy()
    return table.assign(**found)
