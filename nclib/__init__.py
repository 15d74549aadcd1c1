"""Measure neural collapse and use it for transfer learning."""

import sys as _sys
from importlib.metadata import version as _version

import lazy_loader as _lazy_loader

from nclib.naming import Alias as _Alias

__version__ = _version("nclib")

# The names are in __init__.pyi; a module is imported when one of its names is first asked for.
__getattr__, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)

_sys.meta_path.append(_Alias)  # type: ignore[arg-type]  # a class with the method of a finder
