"""The book's experiments, which the library never imports: studies, their records, and the claims they decide."""

from nclib.naming import names_of

__getattr__, __dir__, __all__ = names_of(__name__)
