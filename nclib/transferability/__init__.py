"""Scores of how well a pre-trained model may transfer to a task, and the ranking of models by them."""

from nclib.naming import names_of

__getattr__, __dir__, __all__ = names_of(__name__)
