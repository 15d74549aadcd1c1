"""Data sets: labelled images, scenes and texts, embedded, of torchvision, or in folders and files."""

from nclib.naming import names_of

__getattr__, __dir__, __all__ = names_of(__name__, catalogue=["EMBEDDED"], torchvision_sets=["TORCHVISION"])
