"""Modules of a user, which register models with timm when they are imported."""

import importlib
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType


def import_module(name: str) -> None:
    """Import a module by name, as seen from the working directory too, or by the path of its file, once."""
    path = Path(name)
    if path.suffix == ".py" and not path.is_file():
        raise FileNotFoundError(f"there is no file {path} to import")
    folder = str(path.parent.resolve() if path.suffix == ".py" else Path.cwd())
    sys.path.insert(0, folder)
    try:
        if path.suffix == ".py":
            _import_file(path.resolve())
        else:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{name} could not be imported ({error}); is it on PYTHONPATH?") from error
    finally:
        sys.path.remove(folder)


def _import_file(path: Path) -> None:
    """As a module of the name of its whole path, for others may have its stem."""
    if str(path) in sys.modules:
        return
    loader = SourceFileLoader(str(path), str(path))
    module = sys.modules[str(path)] = ModuleType(str(path))
    module.__file__ = str(path)
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[str(path)]
        raise
