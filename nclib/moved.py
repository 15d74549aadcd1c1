"""Where modules of version 0.1 are now: `import nclib.claims` works, and a DeprecationWarning says where to go."""

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

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
