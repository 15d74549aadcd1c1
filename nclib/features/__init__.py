"""Features of images at any layer, of pixels, and of whole data sets, and files of features."""

from nclib.naming import names_of

__getattr__, __dir__, __all__ = names_of(__name__, backbones=["LAST", "AsTrained"])
