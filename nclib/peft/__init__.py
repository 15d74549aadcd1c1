"""Fine-tuning, from a linear probe over one layer with a skip connection to everything."""

from nclib.naming import names_of

__getattr__, __dir__, __all__ = names_of(__name__, methods=["METHODS"])
