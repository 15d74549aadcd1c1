"""Models: pre-trained ones by name, encoders of texts, and networks trained by a recipe."""

from nclib.naming import names_of

__getattr__, __dir__, __all__ = names_of(__name__, text_encoders=["TextEncoder"])
