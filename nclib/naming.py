"""Where public names are found: in `nclib`, in their rooms, and by the paths that modules had in version 0.1."""

import ast
import warnings
from collections import defaultdict
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import lazy_loader

# `import nclib.claims` works as before, with a DeprecationWarning that says where to go: here are the modules that kept
# their stem, by room, and below those that did not, or that are several now.
_KEPT = {
    "experiments": "records run tolerances words",
    "experiments.chapters": "downstream selection",
    "metrics": "measurement pairs ranks registry simplex statistics torchmetric",
    "data": "augmentation folders glyphs scene_sets text_sets",
    "models": "losses networks schedules",
    "probing": "logistic nearest probe",
    "complexity": "jacobians",
    "peft": "finetuning prefix tuned",
    "transferability": "feature_scores ranking source_scores",
}
_RENAMED = {
    "plots": "experiments.plots experiments.figures",
    "scales": "experiments.scales experiments.scales.scale",
    "studies": "experiments.studies experiments.cells experiments.chapters.complexity experiments.chapters.source",
    "claims": "experiments.claims estimates",
    "findings": "experiments.studies experiments.chapters.source experiments.chapters.in_training",
    "fine_tuned": "experiments.chapters.fine_tuning",
    "geometric": "experiments.chapters.complexity",
    "fitting": "experiments.words probing.linear",
    "collapse": "metrics.variability",
    "catalogue": "data.torchvision_sets",
    "image_sets": "data.images",
    "arrow": "features.files",
    "tables": "features.files",
    "segmentation": "features.pixels",
    "complexity_bound": "complexity.bound",
    "text_models": "models.text_encoders",
    "training": "models.recipes",
    "tuning": "peft.finetuning",
    "tuned_files": "peft.files",
    "scores": "transferability.registry",
}
MOVED = _RENAMED | {stem: f"{room}.{stem}" for room, stems in _KEPT.items() for stem in stems.split()}


class Alias:
    """Finds a module by its old name, as one that has the names of those that it is now."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, old = name.rpartition(".")
        return ModuleSpec(name, Alias()) if package == "nclib" and old in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Python makes an empty one."""

    def exec_module(self, module: ModuleType) -> None:
        new = [f"nclib.{name}" for name in MOVED[module.__name__.rpartition(".")[2]].split()]
        warnings.warn(f"{module.__name__} is {' and '.join(new)} now", DeprecationWarning, stacklevel=2)
        modules = [import_module(name) for name in new]

        def find(name: str) -> Any:
            if owner := next((each for each in modules if hasattr(each, name)), None):
                return getattr(owner, name)
            raise AttributeError(f"{module.__name__} is {' and '.join(new)} now, which has no {name!r}")

        module.__getattr__ = find  # type: ignore[method-assign]


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
