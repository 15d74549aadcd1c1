"""Find public names in `nclib`, in their subpackages, and under the paths that modules had before 0.1.0."""

import ast
import sys
import warnings
from collections import defaultdict
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import lazy_loader

# `import nclib.claims` works as before, with a DeprecationWarning that names the new path. _KEPT lists the modules that
# kept their stem, by subpackage; _RENAMED those that were renamed or split.
_KEPT = {
    "experiments": "card records run tolerances words",
    "experiments.chapters": "downstream selection",
    "features": "forward",
    "metrics": "measurement pairs ranks registry simplex statistics torchmetric",
    "data": "augmentation folders glyphs scene_sets text_sets",
    "models": "losses networks schedules",
    "probing": "logistic nearest probe",
    "complexity": "jacobians",
    "peft": "finetuning prefix tuned",
    "transferability": "feature_scores ranking source_scores",
}
_RENAMED = {
    "plots": "experiments.plots "
    + " ".join(f"experiments.figures.{chapter}" for chapter in ("in_training", "source", "downstream", "fine_tuning")),
    "scales": "experiments.scales experiments.scales.scale",
    "studies": "experiments.studies experiments.cells experiments.chapters.complexity experiments.chapters.source "
    "experiments.chapters.in_training experiments.chapters.downstream experiments.chapters.selection",
    "claims": "experiments.claims estimates",
    "styles": "experiments.plots",
    "provenance": "experiments.records",
    "tasks": "experiments.scales.scale",
    "sweeps": "experiments.scales.scale",
    "zoos": "experiments.scales.scale experiments.cells",
    "tuning_studies": "experiments.cells experiments.chapters.fine_tuning",
    "selection_studies": "experiments.chapters.selection",
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
    "evidence": "transferability.class_scores",
    "ridge": "probing.linear",
    "validation": "probing.probe",
    "inputs": "peft.prefix",
    "loading": "data.batches",
    "weights": "models.pretrained",
    "imports": "models.pretrained",
    "feature_cache": "features.extraction",
    "accumulators": "metrics.statistics",
    "products": "metrics.linalg",
    "complexity_passes": "complexity.geometric",
    "jacobian_norms": "complexity.jacobians",
}
MOVED = _RENAMED | {stem: f"{room}.{stem}" for room, stems in _KEPT.items() for stem in stems.split()}
# Subpackages were modules once. These names of theirs have moved to another subpackage, or are no longer public.
_LEFT = {
    "data": ("data.catalogue", "SPLITS find_path training_images"),
    "features": ("features.extraction", "each_shard shards_of"),
    "models": ("features.backbones", "AsTrained Backbone LAST recipe_backbone"),
    "transferability": ("metrics.variability", "warn_of_few"),
}
LEFT = {f"{room}.{name}": new for room, (new, names) in _LEFT.items() for name in names.split()}


class Alias(MetaPathFinder, Loader):
    """Finds a module by its old name, and fills it with the names of the modules that replace it."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, old = name.rpartition(".")
        return ModuleSpec(name, self) if package == "nclib" and old in MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python make an empty module."""

    def exec_module(self, module: ModuleType) -> None:
        new = [f"nclib.{name}" for name in MOVED[module.__name__.rpartition(".")[2]].split()]
        what = f"{module.__name__} is {' and '.join(new)} now"
        warnings.warn(what, DeprecationWarning, stacklevel=2)
        for each in reversed([import_module(name) for name in new]):  # a name in several modules is the first module's
            vars(module).update({name: value for name, value in vars(each).items() if not name.startswith("_")})

        def refuse(name: str) -> Any:
            raise AttributeError(f"{what}, which has no {name!r}")

        vars(module)["__getattr__"] = refuse


def names_of(room: str, **more: list[str]) -> tuple[Any, Any, Any]:
    """`__getattr__`, `__dir__` and `__all__` for a subpackage: its public names in nclib's stub, and `more` by module.

    Names and modules are imported when they are first asked for.
    """
    stub = ast.parse(Path(__file__).with_name("__init__.pyi").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = defaultdict(list, more)
    for node in stub.body:
        package, _, module = (getattr(node, "module", None) or "").partition(".")
        if isinstance(node, ast.ImportFrom) and f"nclib.{package}" == room:
            found[module] = found[module] + [alias.name for alias in node.names]
    modules = {module.name for module in iter_modules(sys.modules[room].__path__)}
    attached, everything, _ = lazy_loader.attach(room, modules, found)

    def find(name: str) -> Any:
        old = f"{room.removeprefix('nclib.')}.{name}"
        if old not in LEFT:
            return attached(name)
        warnings.warn(f"nclib.{old} is in nclib.{LEFT[old]} now", DeprecationWarning, stacklevel=2)
        return getattr(import_module(f"nclib.{LEFT[old]}"), name)

    # `import *` skips the modules: one of them needs an optional package.
    return find, everything, sorted(set(everything()) - modules)
