"""Geometric complexity: the mean squared norm of the features' Jacobian, its estimates and its bound."""

import lazy_loader as _lazy_loader

_NAMES = {
    "bound": ["geometric_collapse", "poincare_constant"],
    "geometric": ["Complexity", "geometric_complexity"],
}
__getattr__, __dir__, __all__ = _lazy_loader.attach(__name__, submod_attrs=_NAMES)
