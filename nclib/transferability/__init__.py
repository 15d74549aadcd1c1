"""Scores of how well a pre-trained model may transfer to a task, and the ranking of models by them."""

import lazy_loader as _lazy_loader

_NAMES = {
    "class_scores": ["class_fairness", "face", "gbc", "h_score", "logme", "over_models", "variance_collapse"],
    "feature_scores": ["h_score_shrunk", "ncti_parts", "probe_accuracy", "sfda", "transrate"],
    "ranking": ["Ranking", "rank_models"],
    "registry": ["OVER_MODELS", "SCORES", "score"],
    "source_scores": ["leep", "nce", "nleep"],
}
__getattr__, __dir__, __all__ = _lazy_loader.attach(__name__, submod_attrs=_NAMES)
