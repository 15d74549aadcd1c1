"""Cells: the settings that describe a network, a task and a way of fine-tuning, and the objects made from them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import product

import pandas as pd

from nclib.experiments.records import Cell
from nclib.experiments.scales.scale import Task
from nclib.experiments.words import TextRecipe
from nclib.features.backbones import Backbone
from nclib.models.recipes import Recipe
from nclib.peft.finetuning import Tuning
from nclib.peft.methods import METHODS
from nclib.peft.tuned import Tuned

# Adapters of Hugging Face's peft, beside LoRA: by a scale for each output, and by Hadamard products of low rank.
_ADAPTERS = {"ia3": {"peft_type": "IA3", "feedforward_modules": []}, "loha": {"peft_type": "LOHA", "r": 4, "alpha": 4}}
WAYS: dict[str, Callable[..., Tuned]] = {
    **METHODS,
    "last": METHODS["layer"],
    **{name: partial(METHODS["adapter"], config=config) for name, config in _ADAPTERS.items()},
}


def recipe_columns(table: pd.DataFrame) -> list[str]:
    """The columns of a table that tell one network from another: the settings of recipes that its cells name."""
    return [field.name for field in fields(Recipe) if field.name in table]


def recipe_of(cell: Cell) -> Recipe:
    """The recipe of the network that a cell is about."""
    return Recipe(**{field.name: cell[field.name] for field in fields(Recipe) if field.name in cell})


def title(recipe: Recipe | TextRecipe, base: Recipe | TextRecipe) -> str:
    """The name of a recipe: its settings that differ from those of the base, or "base"."""
    differences = [f"{name} {value}" for name, value in recipe.config.items() if value != getattr(base, name)]
    return ", ".join(differences) or "base"


def named_models(names: Iterable[str], seeds: Iterable[int], weights: str = "pretrained") -> list[Cell]:
    """The part of a cell that describes models which others trained: name, weights and seed, for each seed."""
    return [{"model": name, "weights": weights, "seed": seed} for name, seed in product(names, seeds)]


def filed_models(names: Iterable[str], seeds: Iterable[int], architecture: str, folder: str) -> list[Cell]:
    """The part of a cell that describes models of one architecture, whose weights are files in a folder."""
    named = named_models(names, seeds)
    return [cell | {"architecture": architecture, "weights": f"{folder}/{cell['model']}.safetensors"} for cell in named]


def trained_models(
    recipes: Sequence[Recipe | TextRecipe], seeds: Iterable[int], base: Recipe | None = None
) -> list[Cell]:
    """The part of a cell that describes models trained here: the recipe, and its title (base: the first)."""
    return [
        {"model": title(recipe, base or recipes[0])} | replace(recipe, seed=seed).config
        for recipe, seed in product(recipes, seeds)
    ]


def of_task(task: Task, per_class: int | None) -> Cell:
    """The part of a cell that describes a task, with `per_class` training images of each class."""
    return {
        "task": task.title,
        "data": task.data,
        "train_per_class": per_class,
        "test_per_class": task.test_per_class,
    } | ({"digest": task.digest} if task.digest else {})


def of_method(method: str, layers: Iterable[int]) -> Cell:
    """The part of a cell that describes a method, with the layers to choose from.

    `skip project` matches other widths by a linear map.
    """
    name, _, match = method.partition(" ")
    options = {"layers": list(layers)} if name in ("last", "layer", "skip") else {}
    return {"method": method} | options | ({"match": match} if match else {})


def candidates(cell: Cell, model: Backbone, num_classes: int) -> list[tuple[Callable[[], Tuned], Tuning]]:
    """The pairs for `finetune_best` that a cell names: one for each learning rate and, if one layer is tuned, layer.

    With a fixed `rate` there is only this rate. A cell describes a recipe and a tuning; where both have a setting of
    the same name, the name of the tuning's ends in `_tuned`.
    """
    make = WAYS[cell["method"].split()[0]]
    same = {"match": cell["match"]} if "match" in cell else {}
    same |= {"seed": cell["seed"]} if cell["method"] in ("lora", *_ADAPTERS) else {}
    options = [same | {"layer": layer} for layer in cell.get("layers", [])] or [same]
    base = Tuning(
        epochs=cell["epochs_tuned"],
        augmentation=cell["augmentation_tuned"],
        seed=cell["seed"],
        collapse=cell.get("collapse_tuned", 0.0),
        balanced=cell.get("balanced_tuned", 0),
    )
    settings = [replace(base, learning_rate=rate) for rate in cell.get("rates") or [cell["rate"]]]
    return [
        (partial(make, model, num_classes=num_classes, **option), setting) for option in options for setting in settings
    ]
