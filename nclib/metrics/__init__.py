"""Collapse metrics: class statistics of features, and every metric as a function of them."""

from nclib.naming import names_of

__getattr__, __dir__, __all__ = names_of(__name__)
