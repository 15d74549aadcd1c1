"""Probes of frozen features: scikit-learn estimators, few-shot episodes, and probes along the depth."""

from nclib.naming import names_of

__getattr__, __dir__, __all__ = names_of(__name__)
