"""Data sets: labelled images, scenes and texts, embedded, of torchvision, or in folders and files."""

import lazy_loader as _lazy_loader

__getattr__, __dir__, __all__ = _lazy_loader.attach(
    __name__, submod_attrs={"catalogue": ["EMBEDDED", "load"], "torchvision_sets": ["TORCHVISION"]}
)
