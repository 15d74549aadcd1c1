"""Where public names are found: in `nclib`, in their rooms, and by the paths that modules had in version 0.1."""

import ast
import sys
import warnings
from collections import defaultdict
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import lazy_loader

# `import nclib.claims` works as before, with a DeprecationWarning that says where to go.
MOVED = {
    "claims": "experiments.claims",
    "findings": "experiments.studies",
    "plots": "experiments.plots",
    "records": "experiments.records",
    "run": "experiments.run",
    "scales": "experiments.scales",
    "studies": "experiments.studies",
    "tolerances": "experiments.tolerances",
    "collapse": "metrics.variability",
    "pairs": "metrics.pairs",
    "ranks": "metrics.ranks",
    "registry": "metrics.registry",
    "simplex": "metrics.simplex",
    "statistics": "metrics.statistics",
    "torchmetric": "metrics.torchmetric",
    "image_sets": "data.images",
    "segmentation": "features.pixels",
    "tables": "features.files",
    "losses": "models.losses",
    "networks": "models.networks",
    "text_models": "models.text_encoders",
    "training": "models.recipes",
    "tuned": "peft.tuned",
    "ranking": "transferability.ranking",
    "scores": "transferability.registry",
}


class Alias:
    """Finds and loads a module by its old name, as the module that it is now."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, old = name.rpartition(".")
        return ModuleSpec(name, Alias()) if package == "nclib" and old in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Python makes an empty one, whose place another takes below."""

    def exec_module(self, module: ModuleType) -> None:
        new = "nclib." + MOVED[module.__name__.rpartition(".")[2]]
        warnings.warn(f"{module.__name__} is {new} now", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(new)


def names_of(room: str, **more: list[str]) -> tuple[Any, Any, Any]:
    """What a room's __init__.py needs to have its public names, those of nclib's stub, and more of its modules' names.

    Each is imported when it is first asked for.
    """
    stub = ast.parse(Path(__file__).with_name("__init__.pyi").read_text())
    found: dict[str, list[str]] = defaultdict(list, more)
    for node in stub.body:
        package, _, module = (getattr(node, "module", None) or "").partition(".")
        if isinstance(node, ast.ImportFrom) and f"nclib.{package}" == room:
            found[module] = found[module] + [alias.name for alias in node.names]
    return lazy_loader.attach(room, submod_attrs=found)
