"""Features: what a backbone makes of images, of any layers, pixels or whole data sets, and their files."""

import lazy_loader as _lazy_loader

_NAMES = {
    "backbones": ["AsTrained", "Backbone", "LAST"],
    "extraction": ["extract", "extract_layers"],
    "files": ["arrow_batches", "arrow_statistics"],
    "pixels": ["mean_iou", "pixel_features"],
    "statistics": ["feature_statistics"],
}
__getattr__, __dir__, __all__ = _lazy_loader.attach(__name__, submod_attrs=_NAMES)
