"""Geometric complexity: the mean squared norm of the features' Jacobian, its estimates and its bound."""

from nclib.naming import names_of

__getattr__, __dir__, __all__ = names_of(__name__)
