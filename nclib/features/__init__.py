"""Features: what a backbone makes of images, of any layers, pixels or whole data sets, and their files."""

from nclib.naming import names_of

__getattr__, __dir__, __all__ = names_of(__name__, backbones=["LAST", "AsTrained"])
