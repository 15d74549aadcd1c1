"""Probes of frozen features: scikit-learn estimators, few-shot episodes, and probes along the depth."""

import lazy_loader as _lazy_loader

_NAMES = {
    "episodes": ["few_shot"],
    "layers": ["layerwise"],
    "linear": ["LinearProbe", "RidgeProbe"],
    "nearest": ["KNN", "NearestClassMean"],
}
__getattr__, __dir__, __all__ = _lazy_loader.attach(__name__, submod_attrs=_NAMES)
