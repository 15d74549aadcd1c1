"""Measure neural collapse and use it for transfer learning."""

import copyreg as _copyreg
import sys as _sys
from importlib import import_module as _import_module
from importlib.metadata import version as _version

import lazy_loader as _lazy_loader

__version__ = _version("nclib")

# The names are in __init__.pyi; a module is imported when one of its names is first asked for.
__getattr__, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)

# lazy_loader makes the module one of a type of its own, which cloudpickle, and so joblib, would not take by its name.
_copyreg.pickle(
    type(_sys.modules[__name__]),
    lambda module: (_import_module, (module.__name__,)),  # type: ignore[arg-type, return-value]  # stubs know str only
)
