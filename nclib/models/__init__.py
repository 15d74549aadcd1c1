"""Models: pre-trained ones by name, encoders of texts, and networks trained by a recipe."""

import lazy_loader as _lazy_loader

_NAMES = {
    "networks": ["Network", "small_resnet", "small_vgg"],
    "pretrained": ["backbone"],
    "recipes": ["Recipe", "train"],
    "text_encoders": ["TextEncoder", "text_encoder", "text_features"],
}
__getattr__, __dir__, __all__ = _lazy_loader.attach(__name__, submod_attrs=_NAMES)
