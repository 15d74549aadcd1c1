"""Measure neural collapse and use it for transfer learning."""

import sys as _sys
from importlib import import_module as _import_module
from pkgutil import iter_modules as _iter_modules

import lazy_loader as _lazy_loader

from nclib.naming import Alias as _Alias

__version__ = "0.1.0"  # pyproject.toml reads it here

# The names are in __init__.pyi; a module is imported when one of its names is first asked for.
_public, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)
_modules = {module.name for module in _iter_modules(__path__)} - {"__main__"}

_sys.meta_path.append(_Alias())


def __getattr__(name: str) -> object:
    """A public name or a module, imported now; `nclib.metrics` needs no import of its own."""
    return _import_module(f"{__name__}.{name}") if name in _modules else _public(name)
